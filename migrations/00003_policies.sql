-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE public.policies (
    tenant_id                 uuid        NOT NULL REFERENCES public.tenants (id),
    alg                       text        NOT NULL,
    is_default                boolean     NOT NULL,
    rsa_bits                  integer,
    rotation_interval_seconds integer     NOT NULL,
    publish_lead_seconds      integer     NOT NULL,
    grace_period_seconds      integer     NOT NULL,
    purge_after_seconds       integer     NOT NULL,
    default_token_ttl_seconds integer     NOT NULL,
    max_token_ttl_seconds     integer     NOT NULL,
    max_published_keys        integer     NOT NULL,
    -- The schedule promotes a standby when this share of the verifiers has fetched it, or after the wait; 0: it does not ask.
    min_adoption              double precision NOT NULL DEFAULT 0,
    max_adoption_wait_seconds integer     NOT NULL DEFAULT 604800,
    -- When the worker has to plan this policy again; NULL: never.
    due_at                    timestamptz,
    created_at                timestamptz NOT NULL,
    updated_at                timestamptz NOT NULL,
    retired_at                timestamptz,
    mac                       bytea, -- authenticates all but due_at and created_at (tenant/authority.go)

    PRIMARY KEY (tenant_id, alg),
    CONSTRAINT policies_alg CHECK (alg IN ('ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519',
        'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87')),
    CONSTRAINT policies_rsa_bits CHECK (
        (rsa_bits IS NOT NULL) = (left(alg, 2) IN ('RS', 'PS')) AND rsa_bits IN (2048, 3072, 4096)),
    CONSTRAINT policies_rotation_interval CHECK (rotation_interval_seconds BETWEEN 0 AND 315360000),
    CONSTRAINT policies_publish_lead CHECK (publish_lead_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_grace_period CHECK (grace_period_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_purge_after CHECK (purge_after_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_default_token_ttl CHECK (default_token_ttl_seconds BETWEEN 1 AND max_token_ttl_seconds),
    CONSTRAINT policies_max_token_ttl CHECK (max_token_ttl_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_max_published_keys CHECK (max_published_keys BETWEEN 3 AND 64),
    CONSTRAINT policies_min_adoption CHECK (min_adoption BETWEEN 0 AND 1),
    CONSTRAINT policies_max_adoption_wait CHECK (max_adoption_wait_seconds BETWEEN 0 AND 315360000),
    CONSTRAINT policies_lead_within_interval CHECK (
        rotation_interval_seconds = 0 OR publish_lead_seconds <= rotation_interval_seconds),
    CONSTRAINT policies_retired_is_not_default CHECK (retired_at IS NULL OR NOT is_default),
    CONSTRAINT policies_representable CHECK (LEAST(due_at, created_at, updated_at, retired_at) >= '0001-01-01Z'
        AND GREATEST(due_at, created_at, updated_at, retired_at) < '10000-01-01Z')
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);

CREATE UNIQUE INDEX policies_one_default ON public.policies (tenant_id) WHERE is_default;
-- Tenants by what they sign with.
CREATE INDEX policies_by_alg ON public.policies (alg, tenant_id) WHERE retired_at IS NULL;
-- Policies that make RSA keys of less than 3072 bits. Of all others the index holds nothing.
CREATE INDEX policies_old_rsa ON public.policies (tenant_id) WHERE retired_at IS NULL AND rsa_bits < 3072;
-- The worker's queue: its cost depends on the number of due policies alone.
CREATE INDEX policies_due ON public.policies (due_at, tenant_id, alg) WHERE due_at IS NOT NULL;

-- +goose StatementBegin
-- keyward_guard_windows checks the inequalities between a tenant and a policy.
-- Changes of both lock the tenant's row first, so that neither changes unseen by
-- the other.
CREATE FUNCTION public.keyward_guard_windows(t public.tenants, p public.policies) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF p.publish_lead_seconds < t.jwks_max_age_seconds + t.jwks_stale_while_revalidate_seconds + t.clock_skew_seconds THEN
        PERFORM public.keyward_refuse('policies_lead_covers_caches',
            'publish_lead_seconds must be at least jwks_max_age_seconds + jwks_stale_while_revalidate_seconds + clock_skew_seconds');
    END IF;
    IF p.grace_period_seconds < p.max_token_ttl_seconds + t.clock_skew_seconds THEN
        PERFORM public.keyward_refuse('policies_grace_covers_tokens',
            'grace_period_seconds must be at least max_token_ttl_seconds + clock_skew_seconds');
    END IF;
END
$$;

-- keyward_guard_policy checks a policy against its tenant.
CREATE FUNCTION public.keyward_guard_policy() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    t public.tenants;
BEGIN
    IF NEW.retired_at IS NOT NULL THEN
        RETURN NEW;
    END IF;
    SELECT * INTO t FROM public.tenants WHERE id = NEW.tenant_id FOR SHARE;
    IF FOUND THEN
        PERFORM public.keyward_guard_windows(t, NEW);
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_default checks at the end of a transaction that a tenant with live
-- policies has a default policy.
CREATE FUNCTION public.keyward_guard_default() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF EXISTS (SELECT 1 FROM public.policies WHERE tenant_id = NEW.tenant_id AND retired_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM public.policies WHERE tenant_id = NEW.tenant_id AND is_default) THEN
        PERFORM public.keyward_refuse('policies_has_default', 'one of a tenant''s policies is the default');
    END IF;
    RETURN NULL;
END
$$;

-- keyward_guard_tenant checks changes of a tenant that other rows depend on.
CREATE FUNCTION public.keyward_guard_tenant() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    p          public.policies;
    old_window integer;
BEGIN
    IF NEW.id <> OLD.id OR NEW.slug <> OLD.slug OR NEW.created_at <> OLD.created_at THEN
        PERFORM public.keyward_refuse('tenants_identity', 'the id, slug and creation time of a tenant never change');
    END IF;
    IF OLD.status = 'deleted' AND NEW.status <> 'deleted' THEN
        PERFORM public.keyward_refuse('tenants_deleted_stays', 'a deleted tenant does not come back');
    END IF;
    IF NEW.audit_seq < OLD.audit_seq OR (NEW.audit_seq = OLD.audit_seq AND NEW.audit_hash <> OLD.audit_hash) THEN
        PERFORM public.keyward_refuse('tenants_audit_head_moves_on', 'the head of the audit chain only moves on');
    END IF;
    IF OLD.cache_horizon > COALESCE(NEW.cache_horizon, '-infinity') THEN
        PERFORM public.keyward_refuse('tenants_cache_horizon_stays', 'no cache forgets earlier than it was told');
    END IF;
    IF (NEW.jwks_max_age_seconds, NEW.jwks_stale_while_revalidate_seconds, NEW.clock_skew_seconds)
        IS DISTINCT FROM (OLD.jwks_max_age_seconds, OLD.jwks_stale_while_revalidate_seconds, OLD.clock_skew_seconds) THEN
        old_window := OLD.jwks_max_age_seconds + OLD.jwks_stale_while_revalidate_seconds + OLD.clock_skew_seconds;
        IF NEW.jwks_max_age_seconds + NEW.jwks_stale_while_revalidate_seconds + NEW.clock_skew_seconds < old_window
            AND COALESCE(NEW.cache_horizon, '-infinity') < NEW.updated_at + make_interval(secs => old_window) THEN
            PERFORM public.keyward_refuse('tenants_cache_horizon_covers_caches', 'caches filled before a change are fresh for as long as they were told then');
        END IF;
        FOR p IN SELECT * FROM public.policies WHERE tenant_id = NEW.id AND retired_at IS NULL LOOP
            PERFORM public.keyward_guard_windows(NEW, p);
        END LOOP;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- A statement without these columns, such as the one that sets due_at, cannot
-- break the rules: it needs neither the check nor the lock on the tenant.
CREATE TRIGGER policies_guard BEFORE INSERT OR UPDATE OF tenant_id, publish_lead_seconds, grace_period_seconds, max_token_ttl_seconds, retired_at
    ON public.policies FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_policy();
CREATE CONSTRAINT TRIGGER policies_has_default AFTER INSERT OR UPDATE OF is_default, retired_at ON public.policies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_default();
CREATE TRIGGER policies_never_deleted BEFORE DELETE OR TRUNCATE ON public.policies
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();

-- The condition spares the call for the most frequent change of a tenant, a move
-- of the head that keeps all of this.
CREATE TRIGGER tenants_guard BEFORE UPDATE ON public.tenants
    FOR EACH ROW WHEN (NEW.audit_seq < OLD.audit_seq OR NEW.audit_seq = OLD.audit_seq AND NEW.audit_hash <> OLD.audit_hash
        OR (NEW.id, NEW.slug, NEW.created_at, NEW.status, NEW.cache_horizon,
            NEW.jwks_max_age_seconds, NEW.jwks_stale_while_revalidate_seconds, NEW.clock_skew_seconds)
        IS DISTINCT FROM
           (OLD.id, OLD.slug, OLD.created_at, OLD.status, OLD.cache_horizon,
            OLD.jwks_max_age_seconds, OLD.jwks_stale_while_revalidate_seconds, OLD.clock_skew_seconds))
    EXECUTE FUNCTION public.keyward_guard_tenant();

RESET search_path;
RESET ROLE;
