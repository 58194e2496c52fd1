-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Audit events, append-only, one hash chain for each tenant.
CREATE TABLE public.audit_events (
    tenant_id  uuid        NOT NULL REFERENCES public.tenants (id),
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
    -- json and not jsonb: the hash covers these bytes, so they must come back unchanged.
    details    json        NOT NULL,
    prev_hash  bytea       NOT NULL,
    hash       bytea       NOT NULL,
    -- The transaction that wrote the event.
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    -- The order of the platform's feed: the greatest xid of the tenant's events so
    -- far. xid alone would not do: a transaction that began early may reach a tenant
    -- late, and its events continue those of a later one. An event whose feed_xid is
    -- below the oldest running transaction is settled: no event will sort before it.
    feed_xid   xid8        NOT NULL DEFAULT '0',

    PRIMARY KEY (tenant_id, seq),
    CONSTRAINT audit_events_seq CHECK (seq >= 1),
    CONSTRAINT audit_events_action CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    CONSTRAINT audit_events_actor_type CHECK (actor_type IN ('api_key', 'oidc', 'workload', 'worker', 'operator')),
    CONSTRAINT audit_events_hashes CHECK (octet_length(hash) = 32 AND octet_length(prev_hash) = 32),
    CONSTRAINT audit_events_details CHECK (json_typeof(details) = 'object'),
    CONSTRAINT audit_events_representable CHECK (at >= '0001-01-01Z' AND at < '10000-01-01Z')
) WITH (
    -- Pages are marked all-visible by the number of rows appended, see tenants.
    autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000, autovacuum_analyze_scale_factor = 0.02
);

CREATE INDEX audit_events_feed ON public.audit_events (feed_xid, tenant_id, seq);
CREATE INDEX audit_events_by_time ON public.audit_events (at, tenant_id, seq);
-- The history of one tenant by kid, action, time and actor, each in the order of a
-- list, so that a page is read from the index. A key enters a state by one or two
-- actions, so the index by action serves states too. They begin behind the 256th event:
-- a short history is read whole in less than a millisecond, and these indexes would take
-- more space than its events. Statements look on each side of that event by itself.
CREATE INDEX audit_events_by_kid ON public.audit_events (tenant_id, kid, seq) WHERE kid IS NOT NULL AND seq > 256;
CREATE INDEX audit_events_by_action ON public.audit_events (tenant_id, action, seq) WHERE seq > 256;
CREATE INDEX audit_events_of_tenant_by_time ON public.audit_events (tenant_id, at, seq) WHERE seq > 256;
-- The schedule causes most events of most histories, and nobody looks for its name:
-- its events are only in a small index by process, whose entries have no order.
CREATE INDEX audit_events_by_actor ON public.audit_events (tenant_id, actor_id, seq) WHERE actor_name <> 'worker' AND seq > 256;
CREATE INDEX audit_events_by_actor_name ON public.audit_events (tenant_id, actor_name, seq) WHERE actor_name <> 'worker' AND seq > 256;
CREATE INDEX audit_events_by_process ON public.audit_events (tenant_id, actor_id) WHERE actor_name = 'worker' AND seq > 256;

-- +goose StatementBegin
-- keyward_guard_audit_event checks that an event continues the previous one without
-- a gap and leads up to the head, which moves first in the same transaction, and that
-- its time is now: at most 5 s from the clock, and not before the previous event. Only
-- the previous event's own time may be further ahead, so that a clock that was set back
-- stops no chain. It reads the head and the previous event in one look-up, because mass
-- rotations write many events.
CREATE FUNCTION public.keyward_guard_audit_event() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    head_seq  bigint;
    head_hash bytea;
    seen_xid  xid8;
    last_hash bytea;
    last_xid  xid8;
    last_at   timestamptz;
    clock     CONSTANT timestamptz := public.keyward_clock();
BEGIN
    IF NEW.xid <> pg_current_xact_id() THEN
        PERFORM public.keyward_refuse('audit_events_xid', 'an audit event belongs to the transaction that writes it');
    END IF;
    SELECT t.audit_seq, t.audit_hash, t.feed_xid, e.hash, e.feed_xid, e.at INTO head_seq, head_hash, seen_xid, last_hash, last_xid, last_at
    FROM public.tenants t LEFT JOIN public.audit_events e ON e.tenant_id = t.id AND e.seq = NEW.seq - 1
    WHERE t.id = NEW.tenant_id;
    IF head_seq IS NULL OR NEW.seq > head_seq OR (NEW.seq = head_seq AND NEW.hash <> head_hash) THEN
        PERFORM public.keyward_refuse('audit_events_reach_head', 'an audit event must lead up to the head of its tenant');
    END IF;
    -- Keys and policies are public, so feed_xid must name the transaction that
    -- changes them: a rendered JWK Set from before is out of date.
    IF (left(NEW.action, 4) = 'key.' OR left(NEW.action, 7) = 'policy.') AND seen_xid IS DISTINCT FROM pg_current_xact_id() THEN
        PERFORM public.keyward_refuse('audit_events_seen', 'a move of a key and a change of a policy are seen by the public, and feed_xid must say so');
    END IF;
    IF NEW.seq = 1 THEN
        last_hash := '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea;
        last_xid := NULL;
    END IF;
    IF last_hash IS NULL OR last_hash <> NEW.prev_hash THEN
        PERFORM public.keyward_refuse('audit_events_chain', 'an audit event must continue the one before it');
    END IF;
    IF NEW.at < last_at OR NEW.at < clock - interval '5 seconds'
        OR NEW.at > clock + interval '5 seconds' AND NEW.at IS DISTINCT FROM last_at THEN
        PERFORM public.keyward_refuse('audit_events_time_of_effect', 'an audit event has the time of its commit, within 5 s, and not an earlier one than the event before it');
    END IF;
    -- GREATEST ignores the NULL of a tenant's first event.
    NEW.feed_xid := GREATEST(pg_current_xact_id(), last_xid);
    RETURN NEW;
END
$$;

-- keyward_guard_audit_head checks at the end of a transaction that the head is an
-- event, and that the first of the new events is not too old by then: what waited
-- between its decision and its commit is done again.
CREATE FUNCTION public.keyward_guard_audit_head() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    before   bigint := 0;
    is_event boolean;
    first_at timestamptz;
    last_at  timestamptz;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := OLD.audit_seq;
    END IF;
    SELECT bool_or(seq = NEW.audit_seq AND hash = NEW.audit_hash), min(at) FILTER (WHERE seq > before), max(at) INTO is_event, first_at, last_at
    FROM public.audit_events WHERE tenant_id = NEW.id AND seq BETWEEN LEAST(before + 1, NEW.audit_seq) AND NEW.audit_seq;
    IF is_event IS NOT TRUE OR NEW.audit_at > last_at THEN
        PERFORM public.keyward_refuse('tenants_audit_head_exists', 'the head of the audit chain must be an event');
    END IF;
    IF first_at < public.keyward_clock() - interval '5 seconds' THEN
        PERFORM public.keyward_refuse('audit_events_time_of_effect', 'an audit event has the time of its commit, within 5 s');
    END IF;
    RETURN NULL;
END
$$;

-- keyward_guard_append_only refuses every change of an event.
CREATE FUNCTION public.keyward_guard_append_only() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    PERFORM public.keyward_refuse('audit_events_append_only', 'audit events are never changed or removed');
    RETURN NULL;
END
$$;

-- keyward_guard_tenant_audited checks at the end of a transaction that a change of
-- a tenant has its event: one with the action in the trigger's argument, among
-- those by which the same statement moved the head.
CREATE FUNCTION public.keyward_guard_tenant_audited() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    before bigint := 0;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := OLD.audit_seq;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM public.audit_events
        WHERE tenant_id = NEW.id AND seq > before AND seq <= NEW.audit_seq AND action = TG_ARGV[0] AND xid = pg_current_xact_id()) THEN
        PERFORM public.keyward_refuse('tenants_change_is_audited', 'a tenant does not change without an audit event');
    END IF;
    RETURN NULL;
END
$$;

-- keyward_guard_audited checks at the end of a transaction that a change of a row
-- has its event, written by the same transaction. The first argument of the trigger
-- is the action; the others are columns of the row that the details of the event
-- must repeat (of a change that tells before and after: those of after). Rows
-- without a tenant belong to the platform's tenant. The event that creates a tenant
-- may also stand for the policies inserted with it.
CREATE FUNCTION public.keyward_guard_audited() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    e       record;
BEGIN
    -- The events of this transaction are the last ones: others of this tenant wait
    -- for the lock on its head.
    FOR e IN
        SELECT xid, seq, action, COALESCE(details -> 'after', details) AS told FROM public.audit_events
        WHERE tenant_id = COALESCE((changed ->> 'tenant_id')::uuid,
            (SELECT id FROM public.tenants WHERE slug = 'platform' AND status <> 'deleted'))
        ORDER BY seq DESC
    LOOP
        EXIT WHEN e.xid <> pg_current_xact_id();
        IF e.action = TG_ARGV[0] AND (SELECT bool_and(e.told ->> c = changed ->> c) FROM unnest(TG_ARGV[1:]) AS c)
            OR e.seq = 1 AND TG_OP = 'INSERT' AND TG_TABLE_NAME = 'policies' THEN
            RETURN NULL;
        END IF;
    END LOOP;
    PERFORM public.keyward_refuse(TG_TABLE_NAME || '_change_is_audited', 'rows of ' || TG_TABLE_NAME || ' do not change without an audit event');
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER audit_events_guard BEFORE INSERT ON public.audit_events
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audit_event();
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_append_only();

CREATE CONSTRAINT TRIGGER tenants_audit_head_exists AFTER INSERT OR UPDATE OF audit_seq ON public.tenants
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audit_head();
-- All settings of a tenant. A move of the head alone names none of these columns.
CREATE CONSTRAINT TRIGGER tenants_created_audited AFTER INSERT ON public.tenants
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_tenant_audited('tenant.created');
CREATE CONSTRAINT TRIGGER tenants_updated_audited AFTER UPDATE OF name, issuer, issuer_name, custom_domain, metadata, jwks_path, jwks_headers, jwks_max_age_seconds,
        jwks_stale_while_revalidate_seconds, jwks_stale_if_error_seconds, clock_skew_seconds, not_before,
        freeze_starts, freeze_ends, freeze_reasons, approval_required ON public.tenants
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (
        (NEW.name, NEW.issuer, NEW.issuer_name, NEW.custom_domain, NEW.metadata::text, NEW.jwks_path, NEW.jwks_headers::text, NEW.jwks_max_age_seconds,
            NEW.jwks_stale_while_revalidate_seconds, NEW.jwks_stale_if_error_seconds, NEW.clock_skew_seconds, NEW.not_before,
            NEW.freeze_starts, NEW.freeze_ends, NEW.freeze_reasons, NEW.approval_required)
        IS DISTINCT FROM
        (OLD.name, OLD.issuer, OLD.issuer_name, OLD.custom_domain, OLD.metadata::text, OLD.jwks_path, OLD.jwks_headers::text, OLD.jwks_max_age_seconds,
            OLD.jwks_stale_while_revalidate_seconds, OLD.jwks_stale_if_error_seconds, OLD.clock_skew_seconds, OLD.not_before,
            OLD.freeze_starts, OLD.freeze_ends, OLD.freeze_reasons, OLD.approval_required))
    EXECUTE FUNCTION public.keyward_guard_tenant_audited('tenant.updated');
CREATE CONSTRAINT TRIGGER tenants_suspended_audited AFTER UPDATE OF status ON public.tenants
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status <> OLD.status AND NEW.status = 'suspended') EXECUTE FUNCTION public.keyward_guard_tenant_audited('tenant.suspended');
CREATE CONSTRAINT TRIGGER tenants_resumed_audited AFTER UPDATE OF status ON public.tenants
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status <> OLD.status AND NEW.status = 'active') EXECUTE FUNCTION public.keyward_guard_tenant_audited('tenant.resumed');
CREATE CONSTRAINT TRIGGER tenants_deleted_audited AFTER UPDATE OF status ON public.tenants
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status <> OLD.status AND NEW.status = 'deleted') EXECUTE FUNCTION public.keyward_guard_tenant_audited('tenant.deleted');

-- All settings of a policy; due_at follows from them.
CREATE CONSTRAINT TRIGGER policies_created_audited AFTER INSERT ON public.policies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('policy.created', 'alg');
CREATE CONSTRAINT TRIGGER policies_created_again_audited AFTER UPDATE OF retired_at ON public.policies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.retired_at IS NOT NULL AND NEW.retired_at IS NULL)
    EXECUTE FUNCTION public.keyward_guard_audited('policy.created', 'alg');
CREATE CONSTRAINT TRIGGER policies_retired_audited AFTER UPDATE OF retired_at ON public.policies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.retired_at IS NULL AND NEW.retired_at IS NOT NULL)
    EXECUTE FUNCTION public.keyward_guard_audited('policy.retired', 'alg');
CREATE CONSTRAINT TRIGGER policies_updated_audited AFTER UPDATE OF tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds,
        publish_lead_seconds, grace_period_seconds, purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds,
        max_published_keys, min_adoption, max_adoption_wait_seconds, retired_at ON public.policies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN ((OLD.retired_at IS NULL) = (NEW.retired_at IS NULL))
    EXECUTE FUNCTION public.keyward_guard_audited('policy.updated', 'alg');

RESET search_path;
RESET ROLE;
