-- +goose Up
SET LOCAL ROLE keyward_owner;

-- The same rules at less cost, once more for the worker's many small moves
-- (bench/RESULTS.md says what each is worth).

-- PostgreSQL matches a bounded repetition of a class by counting: 65 µs for a
-- kid, each time its row changes. That no other character occurs, and how many
-- there are, says the same.
ALTER TABLE keys DROP CONSTRAINT keys_kid_pattern,
    ADD CONSTRAINT keys_kid_pattern CHECK (kid !~ '[^A-Za-z0-9._~-]' AND char_length(kid) BETWEEN 1 AND 128 AND kid NOT IN ('.', '..'));
ALTER TABLE tenants DROP CONSTRAINT tenants_slug_pattern, DROP CONSTRAINT tenants_slug_is_no_id,
    ADD CONSTRAINT tenants_slug_pattern CHECK (slug !~ '[^a-z0-9-]' AND char_length(slug) BETWEEN 1 AND 63
        AND left(slug, 1) <> '-' AND right(slug, 1) <> '-'),
    ADD CONSTRAINT tenants_slug_is_no_id CHECK (char_length(replace(slug, '-', '')) <> 32 OR replace(slug, '-', '') ~ '[^0-9a-f]');

-- One look-up instead of two: the head, and the event before.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION keyward_guard_audit_event() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    head_seq  bigint;
    head_hash bytea;
    last_hash bytea;
    last_xid  xid8;
BEGIN
    IF NEW.xid <> pg_current_xact_id() THEN
        PERFORM keyward_refuse('audit_events_xid', 'an audit event belongs to the transaction that writes it');
    END IF;
    SELECT t.audit_seq, t.audit_hash, e.hash, e.feed_xid INTO head_seq, head_hash, last_hash, last_xid
    FROM tenants t LEFT JOIN audit_events e ON e.tenant_id = t.id AND e.seq = NEW.seq - 1
    WHERE t.id = NEW.tenant_id;
    IF head_seq IS NULL OR NEW.seq > head_seq OR (NEW.seq = head_seq AND NEW.hash <> head_hash) THEN
        PERFORM keyward_refuse('audit_events_reach_head', 'an audit event must lead up to the head of its tenant');
    END IF;
    IF NEW.seq = 1 THEN
        last_hash := '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea;
        last_xid := NULL;
    END IF;
    IF last_hash IS NULL OR last_hash <> NEW.prev_hash THEN
        PERFORM keyward_refuse('audit_events_chain', 'an audit event must continue the one before it');
    END IF;
    -- The order of the platform's feed (00008). GREATEST passes over the NULL of
    -- a tenant's first event.
    NEW.feed_xid := GREATEST(pg_current_xact_id(), last_xid);
    RETURN NEW;
END
$$;

-- Policy and tenant are looked up together, and only what is asked of them.
CREATE OR REPLACE FUNCTION keyward_guard_key() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    lead          integer;
    life          integer;
    cache_horizon timestamptz;
    frozen        boolean;
BEGIN
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('standby', 'active'), ('standby', 'revoked'),
        ('active', 'deprecated'), ('active', 'revoked'),
        ('deprecated', 'expired'), ('deprecated', 'revoked'),
        ('expired', 'purged'), ('revoked', 'purged')) THEN
        PERFORM keyward_refuse('keys_transition', 'no key moves from ' || OLD.state || ' to ' || NEW.state);
    END IF;
    IF (NEW.tenant_id, NEW.kid, NEW.alg, NEW.origin, NEW.created_at, NEW.published_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.kid, OLD.alg, OLD.origin, OLD.created_at, OLD.published_at)
        OR (OLD.activated_at IS NOT NULL AND (NEW.activated_at, NEW.activation) IS DISTINCT FROM (OLD.activated_at, OLD.activation))
        OR (OLD.deprecated_at IS NOT NULL AND (NEW.deprecated_at, NEW.token_horizon, NEW.expires_at)
            IS DISTINCT FROM (OLD.deprecated_at, OLD.token_horizon, OLD.expires_at))
        OR (OLD.expired_at IS NOT NULL AND NEW.expired_at IS DISTINCT FROM OLD.expired_at)
        OR (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at, NEW.revocation_reason) IS DISTINCT FROM (OLD.revoked_at, OLD.revocation_reason))
        OR (OLD.purged_at IS NOT NULL AND NEW.purged_at IS DISTINCT FROM OLD.purged_at)
        OR (NEW.public_jwk IS NOT NULL AND NEW.public_jwk::text IS DISTINCT FROM OLD.public_jwk::text)
        OR OLD.token_horizon > COALESCE(NEW.token_horizon, '-infinity') THEN
        PERFORM keyward_refuse('keys_history', 'what a key row says about the past never changes');
    END IF;
    IF NEW.state = OLD.state THEN
        IF NEW.state_event <> OLD.state_event THEN
            PERFORM keyward_refuse('keys_state_event', 'the event of the last move changes only with a move');
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state_event <= OLD.state_event THEN
        PERFORM keyward_refuse('keys_state_event', 'a move needs an audit event newer than the last one''s');
    END IF;
    IF NEW.state = 'active' AND NEW.activation = 'scheduled' THEN
        SELECT p.publish_lead_seconds, t.cache_horizon, cardinality(t.freeze_starts) > 0
            AND EXISTS (SELECT 1 FROM unnest(t.freeze_starts, t.freeze_ends) AS w (starts, ends)
                WHERE NEW.activated_at >= w.starts AND NEW.activated_at < w.ends)
        INTO lead, cache_horizon, frozen
        FROM policies p JOIN tenants t ON t.id = p.tenant_id
        WHERE p.tenant_id = NEW.tenant_id AND p.alg = NEW.alg;
        IF NEW.activated_at < NEW.published_at + make_interval(secs => lead) OR NEW.activated_at < cache_horizon THEN
            PERFORM keyward_refuse('keys_published_for_lead', 'the schedule promotes no key before it has been published for publish_lead_seconds');
        END IF;
        IF frozen THEN
            PERFORM keyward_refuse('keys_not_in_freeze', 'the schedule promotes no key inside a freeze window of its tenant');
        END IF;
    END IF;
    IF NEW.state = 'deprecated' THEN
        SELECT p.max_token_ttl_seconds + t.clock_skew_seconds INTO life
        FROM policies p JOIN tenants t ON t.id = p.tenant_id
        WHERE p.tenant_id = NEW.tenant_id AND p.alg = NEW.alg;
        IF NEW.token_horizon < NEW.deprecated_at + make_interval(secs => life) THEN
            PERFORM keyward_refuse('keys_horizon_covers_tokens', 'token_horizon must be at least deprecated_at + max_token_ttl_seconds + clock_skew_seconds');
        END IF;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- A standby is always a birth; and a key that gives up its private part is
-- sealed with nothing.
DROP TRIGGER keys_birth ON keys;
CREATE TRIGGER keys_birth BEFORE INSERT ON keys
    FOR EACH ROW WHEN (NEW.state <> 'standby') EXECUTE FUNCTION keyward_guard_key_birth();
DROP TRIGGER keys_sealed ON keys;
CREATE TRIGGER keys_sealed AFTER INSERT OR UPDATE OF data_key_version ON keys
    FOR EACH ROW WHEN (NEW.data_key_version IS NOT NULL) EXECUTE FUNCTION keyward_guard_key_sealed();

RESET ROLE;
