-- +goose Up
SET LOCAL ROLE keyward_owner;

CREATE TABLE tenants (
    id                                  uuid PRIMARY KEY,
    slug                                text        NOT NULL,
    name                                text        NOT NULL DEFAULT '',
    issuer                              text,
    custom_domain                       text,
    status                              text        NOT NULL DEFAULT 'active',
    jwks_max_age_seconds                integer     NOT NULL DEFAULT 300,
    jwks_stale_while_revalidate_seconds integer     NOT NULL DEFAULT 60,
    jwks_stale_if_error_seconds         integer     NOT NULL DEFAULT 86400,
    clock_skew_seconds                  integer     NOT NULL DEFAULT 60,
    -- Until when a cache filled under earlier, longer settings may still be fresh.
    cache_horizon                       timestamptz,
    not_before                          timestamptz,
    -- The head of the tenant's audit chain; audit_seq is also the tenant's version.
    audit_seq                           bigint      NOT NULL,
    audit_hash                          bytea       NOT NULL,
    created_at                          timestamptz NOT NULL,
    updated_at                          timestamptz NOT NULL,
    deleted_at                          timestamptz,

    CONSTRAINT tenants_slug_pattern CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    CONSTRAINT tenants_slug_is_no_id CHECK (replace(slug, '-', '') !~ '^[0-9a-f]{32}$'),
    CONSTRAINT tenants_name_length CHECK (char_length(name) <= 200),
    CONSTRAINT tenants_issuer_length CHECK (char_length(issuer) BETWEEN 1 AND 500),
    CONSTRAINT tenants_custom_domain_form CHECK (custom_domain = lower(custom_domain) AND char_length(custom_domain) BETWEEN 1 AND 253),
    CONSTRAINT tenants_status CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT tenants_deleted_at CHECK ((deleted_at IS NOT NULL) = (status = 'deleted')),
    CONSTRAINT tenants_platform_stays CHECK (slug <> 'platform' OR status = 'active'),
    CONSTRAINT tenants_jwks_max_age CHECK (jwks_max_age_seconds BETWEEN 0 AND 604800),
    CONSTRAINT tenants_jwks_stale_while_revalidate CHECK (jwks_stale_while_revalidate_seconds BETWEEN 0 AND 604800),
    CONSTRAINT tenants_jwks_stale_if_error CHECK (jwks_stale_if_error_seconds BETWEEN 0 AND 2592000),
    CONSTRAINT tenants_clock_skew CHECK (clock_skew_seconds BETWEEN 0 AND 600),
    CONSTRAINT tenants_audit_head CHECK (audit_seq >= 1 AND octet_length(audit_hash) = 32)
);

-- A deleted tenant's slug and domain are free again.
CREATE UNIQUE INDEX tenants_live_slug ON tenants (slug) WHERE status <> 'deleted';
CREATE UNIQUE INDEX tenants_live_custom_domain ON tenants (custom_domain) WHERE status <> 'deleted';
CREATE INDEX tenants_created ON tenants (created_at DESC, id DESC);

CREATE TABLE policies (
    tenant_id                 uuid        NOT NULL REFERENCES tenants (id),
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
    -- When the worker has to look at this policy again; NULL: never.
    due_at                    timestamptz,
    created_at                timestamptz NOT NULL,
    updated_at                timestamptz NOT NULL,
    retired_at                timestamptz,

    PRIMARY KEY (tenant_id, alg),
    CONSTRAINT policies_alg CHECK (alg IN ('ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519',
        'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512')),
    CONSTRAINT policies_rsa_bits CHECK (
        (rsa_bits IS NOT NULL) = (left(alg, 2) IN ('RS', 'PS')) AND rsa_bits IN (2048, 3072, 4096)),
    CONSTRAINT policies_rotation_interval CHECK (rotation_interval_seconds BETWEEN 0 AND 315360000),
    CONSTRAINT policies_publish_lead CHECK (publish_lead_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_grace_period CHECK (grace_period_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_purge_after CHECK (purge_after_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_default_token_ttl CHECK (default_token_ttl_seconds BETWEEN 1 AND max_token_ttl_seconds),
    CONSTRAINT policies_max_token_ttl CHECK (max_token_ttl_seconds BETWEEN 1 AND 315360000),
    CONSTRAINT policies_max_published_keys CHECK (max_published_keys BETWEEN 3 AND 64),
    CONSTRAINT policies_lead_within_interval CHECK (
        rotation_interval_seconds = 0 OR publish_lead_seconds <= rotation_interval_seconds),
    CONSTRAINT policies_retired_is_not_default CHECK (retired_at IS NULL OR NOT is_default)
);

CREATE UNIQUE INDEX policies_one_default ON policies (tenant_id) WHERE is_default;
-- The worker's queue: what it costs depends on what is due.
CREATE INDEX policies_due ON policies (due_at, tenant_id, alg) WHERE due_at IS NOT NULL;

-- The inequalities that span two tables. Both sides take the tenant's row
-- lock first, so that neither can change behind the other's back.
-- +goose StatementBegin
CREATE FUNCTION keyward_guard_windows(t tenants, p policies) RETURNS void
    LANGUAGE plpgsql AS
$$
BEGIN
    IF p.publish_lead_seconds < t.jwks_max_age_seconds + t.jwks_stale_while_revalidate_seconds + t.clock_skew_seconds THEN
        PERFORM keyward_refuse('policies_lead_covers_caches',
            'publish_lead_seconds must be at least jwks_max_age_seconds + jwks_stale_while_revalidate_seconds + clock_skew_seconds');
    END IF;
    IF p.grace_period_seconds < p.max_token_ttl_seconds + t.clock_skew_seconds THEN
        PERFORM keyward_refuse('policies_grace_covers_tokens',
            'grace_period_seconds must be at least max_token_ttl_seconds + clock_skew_seconds');
    END IF;
END
$$;

CREATE FUNCTION keyward_guard_policy() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    t tenants;
BEGIN
    IF NEW.retired_at IS NOT NULL THEN
        RETURN NEW;
    END IF;
    SELECT * INTO t FROM tenants WHERE id = NEW.tenant_id FOR SHARE;
    IF FOUND THEN
        PERFORM keyward_guard_windows(t, NEW);
    END IF;
    RETURN NEW;
END
$$;

-- At the end of a transaction a tenant that signs has a default.
CREATE FUNCTION keyward_guard_default() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF EXISTS (SELECT 1 FROM policies WHERE tenant_id = NEW.tenant_id AND retired_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM policies WHERE tenant_id = NEW.tenant_id AND is_default) THEN
        PERFORM keyward_refuse('policies_has_default', 'one of a tenant''s policies is the default');
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION keyward_guard_tenant() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    p          policies;
    old_window integer;
BEGIN
    IF NEW.id <> OLD.id OR NEW.slug <> OLD.slug OR NEW.created_at <> OLD.created_at THEN
        PERFORM keyward_refuse('tenants_identity', 'the id, slug and creation time of a tenant never change');
    END IF;
    IF OLD.status = 'deleted' AND NEW.status <> 'deleted' THEN
        PERFORM keyward_refuse('tenants_deleted_stays', 'a deleted tenant does not come back');
    END IF;
    IF NEW.audit_seq < OLD.audit_seq OR (NEW.audit_seq = OLD.audit_seq AND NEW.audit_hash <> OLD.audit_hash) THEN
        PERFORM keyward_refuse('tenants_audit_head_moves_on', 'the head of the audit chain only moves on');
    END IF;
    IF (NEW.name, NEW.issuer, NEW.custom_domain, NEW.status, NEW.jwks_max_age_seconds, NEW.jwks_stale_while_revalidate_seconds,
        NEW.jwks_stale_if_error_seconds, NEW.clock_skew_seconds, NEW.not_before)
        IS DISTINCT FROM
       (OLD.name, OLD.issuer, OLD.custom_domain, OLD.status, OLD.jwks_max_age_seconds, OLD.jwks_stale_while_revalidate_seconds,
        OLD.jwks_stale_if_error_seconds, OLD.clock_skew_seconds, OLD.not_before)
        AND NEW.audit_seq = OLD.audit_seq THEN
        PERFORM keyward_refuse('tenants_change_is_audited', 'a tenant does not change without an audit event');
    END IF;
    IF OLD.cache_horizon > COALESCE(NEW.cache_horizon, '-infinity') THEN
        PERFORM keyward_refuse('tenants_cache_horizon_stays', 'no cache forgets earlier than it was told');
    END IF;
    IF (NEW.jwks_max_age_seconds, NEW.jwks_stale_while_revalidate_seconds, NEW.clock_skew_seconds)
        IS DISTINCT FROM (OLD.jwks_max_age_seconds, OLD.jwks_stale_while_revalidate_seconds, OLD.clock_skew_seconds) THEN
        old_window := OLD.jwks_max_age_seconds + OLD.jwks_stale_while_revalidate_seconds + OLD.clock_skew_seconds;
        IF NEW.jwks_max_age_seconds + NEW.jwks_stale_while_revalidate_seconds + NEW.clock_skew_seconds < old_window
            AND COALESCE(NEW.cache_horizon, '-infinity') < NEW.updated_at + make_interval(secs => old_window) THEN
            PERFORM keyward_refuse('tenants_cache_horizon_covers_caches', 'caches filled before a change are fresh for as long as they were told then');
        END IF;
        FOR p IN SELECT * FROM policies WHERE tenant_id = NEW.id AND retired_at IS NULL LOOP
            PERFORM keyward_guard_windows(NEW, p);
        END LOOP;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER policies_guard BEFORE INSERT OR UPDATE ON policies
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_policy();
CREATE CONSTRAINT TRIGGER policies_has_default AFTER INSERT OR UPDATE OF is_default, retired_at ON policies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_default();
CREATE TRIGGER tenants_guard BEFORE UPDATE ON tenants
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_tenant();

-- +goose StatementBegin
CREATE FUNCTION keyward_guard_never_deleted() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM keyward_refuse(TG_TABLE_NAME || '_never_deleted', 'rows of ' || TG_TABLE_NAME || ' are history and are never deleted');
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER tenants_never_deleted BEFORE DELETE OR TRUNCATE ON tenants
    FOR EACH STATEMENT EXECUTE FUNCTION keyward_guard_never_deleted();
CREATE TRIGGER policies_never_deleted BEFORE DELETE OR TRUNCATE ON policies
    FOR EACH STATEMENT EXECUTE FUNCTION keyward_guard_never_deleted();

RESET ROLE;
