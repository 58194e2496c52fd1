-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Webhooks. A webhook belongs to a tenant and receives that tenant's events; with
-- of_all it belongs to the platform's tenant and receives every tenant's. It keeps
-- its position in the feed of audit_events, which makes these the outbox: an event
-- commits with its change, and events after the position have no delivery yet.
CREATE TABLE public.webhooks (
    tenant_id        uuid        NOT NULL REFERENCES public.tenants (id),
    id               uuid        NOT NULL,
    of_all           boolean     NOT NULL,
    -- NULL once deleted: it may contain a secret.
    url              text,
    actions          text[]      NOT NULL,
    description      text        NOT NULL DEFAULT '',
    format           text        NOT NULL DEFAULT 'keyward', -- of its deliveries
    status           text        NOT NULL DEFAULT 'active',
    disabled_reason  text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    -- The position of the last event that was turned into a delivery, or skipped. The
    -- first two are zeros unless of_all.
    place_xid        xid8        NOT NULL DEFAULT '0',
    place_tenant_id  uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    place_seq        bigint      NOT NULL,
    -- Set when the tenant's last event has been turned into a delivery.
    ended_at         timestamptz,
    -- When a delivery is due; NULL: none is pending.
    due_at           timestamptz,
    -- The sender that set this owns the deliveries until then, or they are paused.
    leased_until     timestamptz,
    -- Consecutive failed attempts, and the time of the first.
    failures         integer     NOT NULL DEFAULT 0,
    failing_since    timestamptz,
    last_delivery_at timestamptz,

    PRIMARY KEY (tenant_id, id),
    CONSTRAINT webhooks_scope UNIQUE (tenant_id, id, of_all),
    CONSTRAINT webhooks_format CHECK (format IN ('keyward', 'set')),
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
    CONSTRAINT webhooks_due_is_active CHECK (due_at IS NULL OR status = 'active'),
    CONSTRAINT webhooks_representable CHECK (LEAST(created_at, updated_at, ended_at, due_at, leased_until, failing_since, last_delivery_at) >= '0001-01-01Z'
        AND GREATEST(created_at, updated_at, ended_at, due_at, leased_until, failing_since, last_delivery_at) < '10000-01-01Z')
);

CREATE INDEX webhooks_created ON public.webhooks (tenant_id, created_at DESC, id DESC);
CREATE INDEX webhooks_of_all ON public.webhooks (id) WHERE of_all AND status = 'active';
-- For a search for new events that no notification announced.
CREATE INDEX webhooks_listening ON public.webhooks (tenant_id, id) INCLUDE (place_seq) WHERE NOT of_all AND status = 'active' AND ended_at IS NULL;
-- The sender's queue. GREATEST ignores a NULL.
CREATE INDEX webhooks_ready ON public.webhooks ((GREATEST(due_at, leased_until))) WHERE due_at IS NOT NULL;

-- Deliveries of one event to one webhook. The unique constraint prevents a second one.
CREATE TABLE public.webhook_deliveries (
    tenant_id       uuid        NOT NULL,
    webhook_id      uuid        NOT NULL,
    id              uuid        NOT NULL,
    of_all          boolean     NOT NULL,
    event_tenant_id uuid        NOT NULL,
    event_seq       bigint      NOT NULL,
    action          text        NOT NULL,
    status          text        NOT NULL DEFAULT 'pending',
    -- Since the delivery was asked for, by the event or by a user.
    attempts        integer     NOT NULL DEFAULT 0,
    asked_at        timestamptz NOT NULL,
    due_at          timestamptz,
    last_attempt_at timestamptz,
    last_status     integer,
    -- A class of error, never the receiver's answer.
    last_error      text,
    delivered_at    timestamptz,
    created_at      timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, webhook_id, id),
    CONSTRAINT webhook_deliveries_webhook FOREIGN KEY (tenant_id, webhook_id, of_all) REFERENCES public.webhooks (tenant_id, id, of_all),
    CONSTRAINT webhook_deliveries_event FOREIGN KEY (event_tenant_id, event_seq) REFERENCES public.audit_events (tenant_id, seq),
    CONSTRAINT webhook_deliveries_once UNIQUE (tenant_id, webhook_id, event_tenant_id, event_seq),
    -- No tenant receives the events of another.
    CONSTRAINT webhook_deliveries_own_events CHECK (of_all OR event_tenant_id = tenant_id),
    CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed')),
    CONSTRAINT webhook_deliveries_due CHECK ((due_at IS NOT NULL) = (status = 'pending')),
    CONSTRAINT webhook_deliveries_delivered CHECK (status <> 'delivered' OR delivered_at IS NOT NULL),
    CONSTRAINT webhook_deliveries_attempts CHECK (attempts >= 0),
    CONSTRAINT webhook_deliveries_last_status CHECK (last_status BETWEEN 100 AND 999),
    CONSTRAINT webhook_deliveries_last_error CHECK (last_error ~ '^[a-z_]{1,40}$'),
    CONSTRAINT webhook_deliveries_representable CHECK (LEAST(asked_at, due_at, last_attempt_at, delivered_at, created_at) >= '0001-01-01Z'
        AND GREATEST(asked_at, due_at, last_attempt_at, delivered_at, created_at) < '10000-01-01Z')
);

CREATE INDEX webhook_deliveries_pending ON public.webhook_deliveries (tenant_id, webhook_id, due_at, id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_by_age ON public.webhook_deliveries (created_at);

-- +goose StatementBegin
-- keyward_guard_webhook checks that a webhook keeps its scope and only moves forward.
CREATE FUNCTION public.keyward_guard_webhook() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NEW.of_all AND NOT EXISTS (SELECT 1 FROM public.tenants WHERE id = NEW.tenant_id AND slug = 'platform') THEN
        PERFORM public.keyward_refuse('webhooks_all_is_platform', 'only the platform is told of every tenant''s events');
    END IF;
    IF TG_OP = 'INSERT' THEN
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.id, NEW.of_all, NEW.created_at) IS DISTINCT FROM (OLD.tenant_id, OLD.id, OLD.of_all, OLD.created_at) THEN
        PERFORM public.keyward_refuse('webhooks_identity', 'a webhook keeps its tenant and scope');
    END IF;
    IF OLD.status = 'deleted' AND NEW.status <> 'deleted' THEN
        PERFORM public.keyward_refuse('webhooks_deleted_stays', 'a deleted webhook does not come back');
    END IF;
    IF (NEW.place_xid, NEW.place_tenant_id, NEW.place_seq) < (OLD.place_xid, OLD.place_tenant_id, OLD.place_seq) THEN
        PERFORM public.keyward_refuse('webhooks_place_moves_on', 'the place of a webhook only moves on');
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_webhook_delivery checks that a delivery keeps its webhook and event.
CREATE FUNCTION public.keyward_guard_webhook_delivery() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF (NEW.tenant_id, NEW.webhook_id, NEW.id, NEW.of_all, NEW.event_tenant_id, NEW.event_seq, NEW.action, NEW.created_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.webhook_id, OLD.id, OLD.of_all, OLD.event_tenant_id, OLD.event_seq, OLD.action, OLD.created_at) THEN
        PERFORM public.keyward_refuse('webhook_deliveries_identity', 'a delivery keeps its webhook and event');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER webhooks_guard BEFORE INSERT OR UPDATE ON public.webhooks
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_webhook();
CREATE TRIGGER webhook_deliveries_guard BEFORE UPDATE ON public.webhook_deliveries
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_webhook_delivery();
-- All settings; positions and attempts follow from them.
CREATE CONSTRAINT TRIGGER webhooks_created_audited AFTER INSERT ON public.webhooks
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('webhook.created', 'id');
CREATE CONSTRAINT TRIGGER webhooks_updated_audited AFTER UPDATE OF url, actions, description, status, disabled_reason ON public.webhooks
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = OLD.status OR NEW.status = 'active') EXECUTE FUNCTION public.keyward_guard_audited('webhook.updated', 'id');
CREATE CONSTRAINT TRIGGER webhooks_disabled_audited AFTER UPDATE OF status ON public.webhooks
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status <> OLD.status AND NEW.status = 'disabled') EXECUTE FUNCTION public.keyward_guard_audited('webhook.disabled', 'id');
CREATE CONSTRAINT TRIGGER webhooks_deleted_audited AFTER UPDATE OF status ON public.webhooks
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status <> OLD.status AND NEW.status = 'deleted') EXECUTE FUNCTION public.keyward_guard_audited('webhook.deleted', 'id');

RESET search_path;
RESET ROLE;
