-- +goose Up
SET LOCAL ROLE keyward_owner;

-- Where events are posted to. A webhook belongs to a tenant, and is told of
-- that tenant's events; with of_all it belongs to the platform's own tenant and
-- is told of everybody's. It keeps its place in the feed of audit_events, so
-- that those are the outbox: an event is committed with its change, and what
-- lies behind the place is still to be turned into deliveries.
CREATE TABLE webhooks (
    tenant_id        uuid        NOT NULL REFERENCES tenants (id),
    id               uuid        NOT NULL,
    of_all           boolean     NOT NULL,
    -- NULL once deleted: there may be a secret in it.
    url              text,
    actions          text[]      NOT NULL,
    description      text        NOT NULL DEFAULT '',
    status           text        NOT NULL DEFAULT 'active',
    disabled_reason  text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    -- Behind the last event that was turned into a delivery, or passed over. The
    -- first two are zeros unless of_all.
    place_xid        xid8        NOT NULL DEFAULT '0',
    place_tenant_id  uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    place_seq        bigint      NOT NULL,
    -- Set when the tenant's last event has been turned into a delivery.
    ended_at         timestamptz,
    -- When a delivery is due; NULL: none is pending.
    due_at           timestamptz,
    -- Until then its deliveries are in the hands of whoever set this, or rest.
    leased_until     timestamptz,
    -- Attempts in a row that failed, and since when.
    failures         integer     NOT NULL DEFAULT 0,
    failing_since    timestamptz,
    last_delivery_at timestamptz,

    PRIMARY KEY (tenant_id, id),
    CONSTRAINT webhooks_scope UNIQUE (tenant_id, id, of_all),
    CONSTRAINT webhooks_status CHECK (status IN ('active', 'disabled', 'deleted')),
    CONSTRAINT webhooks_url CHECK ((url IS NULL) = (status = 'deleted') AND char_length(url) BETWEEN 1 AND 2000),
    CONSTRAINT webhooks_description_length CHECK (char_length(description) <= 200),
    CONSTRAINT webhooks_actions CHECK (cardinality(actions) <= 50
        AND array_position(actions, NULL) IS NULL
        AND array_to_string(actions, ' ') ~ '^([a-z_]+\.([a-z_]+|\*)( |$))*$'),
    CONSTRAINT webhooks_disabled_reason CHECK (
        (disabled_reason IS NOT NULL) = (status = 'disabled') AND disabled_reason IN ('requested', 'gone', 'failing')),
    CONSTRAINT webhooks_failing CHECK (failures >= 0 AND (failing_since IS NOT NULL) = (failures > 0)),
    CONSTRAINT webhooks_place CHECK (of_all OR (place_xid = '0' AND place_tenant_id = '00000000-0000-0000-0000-000000000000')),
    CONSTRAINT webhooks_due_is_active CHECK (due_at IS NULL OR status = 'active')
);

CREATE INDEX webhooks_created ON webhooks (tenant_id, created_at DESC, id DESC);
CREATE INDEX webhooks_of_all ON webhooks (id) WHERE of_all AND status = 'active';
-- What a look for new events without a hint goes through.
CREATE INDEX webhooks_listening ON webhooks (tenant_id, id) INCLUDE (place_seq) WHERE NOT of_all AND status = 'active' AND ended_at IS NULL;
-- The sender's queue. GREATEST passes over a NULL.
CREATE INDEX webhooks_ready ON webhooks ((GREATEST(due_at, leased_until))) WHERE due_at IS NOT NULL;

-- One event for one webhook. The unique index is why none is made twice.
CREATE TABLE webhook_deliveries (
    tenant_id       uuid        NOT NULL,
    webhook_id      uuid        NOT NULL,
    id              uuid        NOT NULL,
    of_all          boolean     NOT NULL,
    event_tenant_id uuid        NOT NULL,
    event_seq       bigint      NOT NULL,
    action          text        NOT NULL,
    status          text        NOT NULL DEFAULT 'pending',
    -- Since it was asked for, by the event or by somebody.
    attempts        integer     NOT NULL DEFAULT 0,
    asked_at        timestamptz NOT NULL,
    due_at          timestamptz,
    last_attempt_at timestamptz,
    last_status     integer,
    -- A class of error; never what a receiver answered.
    last_error      text,
    delivered_at    timestamptz,
    created_at      timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, webhook_id, id),
    CONSTRAINT webhook_deliveries_webhook FOREIGN KEY (tenant_id, webhook_id, of_all) REFERENCES webhooks (tenant_id, id, of_all),
    CONSTRAINT webhook_deliveries_event FOREIGN KEY (event_tenant_id, event_seq) REFERENCES audit_events (tenant_id, seq),
    CONSTRAINT webhook_deliveries_once UNIQUE (tenant_id, webhook_id, event_tenant_id, event_seq),
    -- No tenant is told of another's events.
    CONSTRAINT webhook_deliveries_own_events CHECK (of_all OR event_tenant_id = tenant_id),
    CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed')),
    CONSTRAINT webhook_deliveries_due CHECK ((due_at IS NOT NULL) = (status = 'pending')),
    CONSTRAINT webhook_deliveries_delivered CHECK (status <> 'delivered' OR delivered_at IS NOT NULL),
    CONSTRAINT webhook_deliveries_attempts CHECK (attempts >= 0),
    CONSTRAINT webhook_deliveries_last_status CHECK (last_status BETWEEN 100 AND 999),
    CONSTRAINT webhook_deliveries_last_error CHECK (last_error ~ '^[a-z_]{1,40}$')
);

CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (tenant_id, webhook_id, due_at, id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);

-- +goose StatementBegin
CREATE FUNCTION keyward_guard_webhook() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF NEW.of_all AND NOT EXISTS (SELECT 1 FROM tenants WHERE id = NEW.tenant_id AND slug = 'platform') THEN
        PERFORM keyward_refuse('webhooks_all_is_platform', 'only the platform is told of every tenant''s events');
    END IF;
    IF TG_OP = 'INSERT' THEN
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.id, NEW.of_all, NEW.created_at) IS DISTINCT FROM (OLD.tenant_id, OLD.id, OLD.of_all, OLD.created_at) THEN
        PERFORM keyward_refuse('webhooks_identity', 'a webhook keeps its tenant and scope');
    END IF;
    IF OLD.status = 'deleted' AND NEW.status <> 'deleted' THEN
        PERFORM keyward_refuse('webhooks_deleted_stays', 'a deleted webhook does not come back');
    END IF;
    IF (NEW.place_xid, NEW.place_tenant_id, NEW.place_seq) < (OLD.place_xid, OLD.place_tenant_id, OLD.place_seq) THEN
        PERFORM keyward_refuse('webhooks_place_moves_on', 'the place of a webhook only moves on');
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION keyward_guard_webhook_delivery() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF (NEW.tenant_id, NEW.webhook_id, NEW.id, NEW.of_all, NEW.event_tenant_id, NEW.event_seq, NEW.action, NEW.created_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.webhook_id, OLD.id, OLD.of_all, OLD.event_tenant_id, OLD.event_seq, OLD.action, OLD.created_at) THEN
        PERFORM keyward_refuse('webhook_deliveries_identity', 'a delivery keeps its webhook and event');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER webhooks_guard BEFORE INSERT OR UPDATE ON webhooks
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_webhook();
CREATE TRIGGER webhook_deliveries_guard BEFORE UPDATE ON webhook_deliveries
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_webhook_delivery();
-- All that somebody decides; where it is with its deliveries follows from them.
CREATE CONSTRAINT TRIGGER webhooks_audited AFTER INSERT OR UPDATE OF url, actions, description, status, disabled_reason ON webhooks
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_audited('^webhook\.');

-- Deliveries are no history: the worker forgets them, and webhooks that were
-- deleted long ago with them. What was decided is in audit_events.
GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks, webhook_deliveries TO keyward_platform;
GRANT SELECT, INSERT, UPDATE ON webhooks TO keyward_app;
GRANT SELECT, UPDATE ON webhook_deliveries TO keyward_app;

ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_deliveries FORCE ROW LEVEL SECURITY;

CREATE POLICY every_tenant ON webhooks TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY every_tenant ON webhook_deliveries TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY one_tenant ON webhooks TO keyward_app USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());
CREATE POLICY one_tenant ON webhook_deliveries TO keyward_app USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());

RESET ROLE;
