-- +goose Up
SET LOCAL ROLE keyward_owner;

-- Freeze windows: the schedule starts no rotation inside one. The nth start,
-- end and reason make the nth window; an end is outside.
ALTER TABLE tenants
    ADD COLUMN freeze_starts  timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN freeze_ends    timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN freeze_reasons text[]        NOT NULL DEFAULT '{}',
    ADD CONSTRAINT tenants_freezes_count CHECK (cardinality(freeze_starts) <= 50
        AND cardinality(freeze_ends) = cardinality(freeze_starts) AND cardinality(freeze_reasons) = cardinality(freeze_starts)),
    ADD CONSTRAINT tenants_freezes_whole CHECK (array_position(freeze_starts, NULL) IS NULL
        AND array_position(freeze_ends, NULL) IS NULL AND array_position(freeze_reasons, NULL) IS NULL);

-- +goose StatementBegin
CREATE FUNCTION keyward_guard_freezes() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF EXISTS (SELECT 1 FROM unnest(NEW.freeze_starts, NEW.freeze_ends, NEW.freeze_reasons) AS w (starts, ends, reason)
        WHERE w.ends <= w.starts OR w.ends > w.starts + interval '2160 hours' OR char_length(w.reason) > 200) THEN
        PERFORM keyward_refuse('tenants_freezes_form', 'a freeze window ends after it starts, within 90 days, and its reason has at most 200 characters');
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.audit_seq = OLD.audit_seq
        AND (NEW.freeze_starts, NEW.freeze_ends, NEW.freeze_reasons)
            IS DISTINCT FROM (OLD.freeze_starts, OLD.freeze_ends, OLD.freeze_reasons) THEN
        PERFORM keyward_refuse('tenants_change_is_audited', 'a tenant does not change without an audit event');
    END IF;
    RETURN NEW;
END
$$;

-- As before, and no scheduled activation inside a freeze window.
CREATE OR REPLACE FUNCTION keyward_guard_key() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    t tenants;
    p policies;
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
        SELECT * INTO p FROM policies WHERE tenant_id = NEW.tenant_id AND alg = NEW.alg;
        SELECT * INTO t FROM tenants WHERE id = NEW.tenant_id;
        IF NEW.activated_at < NEW.published_at + make_interval(secs => p.publish_lead_seconds)
            OR NEW.activated_at < t.cache_horizon THEN
            PERFORM keyward_refuse('keys_published_for_lead', 'the schedule promotes no key before it has been published for publish_lead_seconds');
        END IF;
        IF EXISTS (SELECT 1 FROM unnest(t.freeze_starts, t.freeze_ends) AS w (starts, ends)
            WHERE NEW.activated_at >= w.starts AND NEW.activated_at < w.ends) THEN
            PERFORM keyward_refuse('keys_not_in_freeze', 'the schedule promotes no key inside a freeze window of its tenant');
        END IF;
    END IF;
    IF NEW.state = 'deprecated' THEN
        SELECT * INTO p FROM policies WHERE tenant_id = NEW.tenant_id AND alg = NEW.alg;
        SELECT * INTO t FROM tenants WHERE id = NEW.tenant_id;
        IF NEW.token_horizon < NEW.deprecated_at + make_interval(secs => p.max_token_ttl_seconds + t.clock_skew_seconds) THEN
            PERFORM keyward_refuse('keys_horizon_covers_tokens', 'token_horizon must be at least deprecated_at + max_token_ttl_seconds + clock_skew_seconds');
        END IF;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER tenants_freezes BEFORE INSERT OR UPDATE OF freeze_starts, freeze_ends, freeze_reasons ON tenants
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_freezes();

RESET ROLE;
