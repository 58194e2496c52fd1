-- +goose Up
SET LOCAL ROLE keyward_owner;

-- What happened, one hash chain per tenant, append-only.
CREATE TABLE audit_events (
    tenant_id  uuid        NOT NULL REFERENCES tenants (id),
    seq        bigint      NOT NULL,
    at         timestamptz NOT NULL,
    action     text        NOT NULL,
    actor_type text        NOT NULL,
    actor_id   text        NOT NULL,
    actor_name text        NOT NULL,
    kid        text,
    from_state text,
    to_state   text,
    reason     text,
    request_id text,
    -- json and not jsonb: the hash covers these bytes, so they must come back as they went in.
    details    json        NOT NULL,
    prev_hash  bytea       NOT NULL,
    hash       bytea       NOT NULL,
    -- The order in which events became visible; a feed reads below the oldest running transaction.
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(),

    PRIMARY KEY (tenant_id, seq),
    CONSTRAINT audit_events_seq CHECK (seq >= 1),
    CONSTRAINT audit_events_action CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    CONSTRAINT audit_events_actor_type CHECK (actor_type IN ('api_key', 'worker', 'operator')),
    CONSTRAINT audit_events_hashes CHECK (octet_length(hash) = 32 AND octet_length(prev_hash) = 32),
    CONSTRAINT audit_events_details CHECK (json_typeof(details) = 'object')
);

CREATE INDEX audit_events_by_kid ON audit_events (tenant_id, kid, seq) WHERE kid IS NOT NULL;
CREATE INDEX audit_events_by_time ON audit_events (at, tenant_id, seq);

-- Seq runs without a gap and every event continues the one before; the head in
-- tenants moves first, in the same transaction, and the last event must reach it.
-- +goose StatementBegin
CREATE FUNCTION keyward_guard_audit_event() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    head_seq  bigint;
    head_hash bytea;
    last_hash bytea;
BEGIN
    IF NEW.xid <> pg_current_xact_id() THEN
        PERFORM keyward_refuse('audit_events_xid', 'an audit event belongs to the transaction that writes it');
    END IF;
    SELECT audit_seq, audit_hash INTO head_seq, head_hash FROM tenants WHERE id = NEW.tenant_id;
    IF head_seq IS NULL OR NEW.seq > head_seq OR (NEW.seq = head_seq AND NEW.hash <> head_hash) THEN
        PERFORM keyward_refuse('audit_events_reach_head', 'an audit event must lead up to the head of its tenant');
    END IF;
    IF NEW.seq = 1 THEN
        last_hash := decode(repeat('00', 32), 'hex');
    ELSE
        SELECT hash INTO last_hash FROM audit_events WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq - 1;
    END IF;
    IF last_hash IS NULL OR last_hash <> NEW.prev_hash THEN
        PERFORM keyward_refuse('audit_events_chain', 'an audit event must continue the one before it');
    END IF;
    RETURN NEW;
END
$$;

-- At the end of a transaction the head is an event that exists.
CREATE FUNCTION keyward_guard_audit_head() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM audit_events WHERE tenant_id = NEW.id AND seq = NEW.audit_seq) THEN
        PERFORM keyward_refuse('tenants_audit_head_exists', 'the head of the audit chain must be an event');
    END IF;
    RETURN NULL;
END
$$;

-- At the end of a transaction a change has an event of the same transaction,
-- whose action matches the trigger's argument. The platform's credentials are
-- in the history of the platform's own tenant.
CREATE FUNCTION keyward_guard_audited() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    e record;
BEGIN
    FOR e IN
        SELECT action, xid FROM audit_events
        WHERE tenant_id = COALESCE(NEW.tenant_id, (SELECT id FROM tenants WHERE slug = 'platform'))
        ORDER BY seq DESC
    LOOP
        EXIT WHEN e.xid <> pg_current_xact_id();
        IF e.action ~ TG_ARGV[0] THEN
            RETURN NULL;
        END IF;
    END LOOP;
    PERFORM keyward_refuse(TG_TABLE_NAME || '_change_is_audited', 'rows of ' || TG_TABLE_NAME || ' do not change without an audit event');
    RETURN NULL;
END
$$;

CREATE FUNCTION keyward_guard_append_only() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM keyward_refuse('audit_events_append_only', 'audit events are never changed or removed');
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER audit_events_guard BEFORE INSERT ON audit_events
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_audit_event();
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION keyward_guard_append_only();
CREATE CONSTRAINT TRIGGER tenants_audit_head_exists AFTER INSERT OR UPDATE OF audit_seq ON tenants
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_audit_head();
-- All that somebody decides about a policy; due_at follows from it. The first
-- policies may be told of with their tenant.
CREATE CONSTRAINT TRIGGER policies_audited AFTER INSERT OR UPDATE OF tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds,
        publish_lead_seconds, grace_period_seconds, purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds,
        max_published_keys, retired_at ON policies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_audited('^(policy\.|tenant\.created$)');

RESET ROLE;
