-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Which tokens of other issuers sign in as what: a workload presents a token of its own platform instead of a secret.
CREATE TABLE public.workload_identities (
    tenant_id                  uuid        NOT NULL REFERENCES public.tenants (id),
    id                         uuid        NOT NULL,
    name                       text        NOT NULL,
    issuer                     text        NOT NULL,
    audience                   text        NOT NULL,
    jwks_uri                   text,                 -- NULL: found by discovery
    rules                      json        NOT NULL, -- json and not jsonb: mac covers these bytes
    role                       text        NOT NULL,
    max_token_lifetime_seconds integer     NOT NULL,
    created_at                 timestamptz NOT NULL,
    expires_at                 timestamptz,
    deleted_at                 timestamptz,
    last_used_at               timestamptz,
    -- Who made it: a second person's approval, and the end of the identity, depend on it.
    creator_type               text        NOT NULL,
    creator_id                 text        NOT NULL,
    creator_name               text        NOT NULL,
    -- Authenticates the row (tenant/authority.go). NULL once it is deleted.
    mac                        bytea,
    -- Authenticates who made it, and stays when it is deleted.
    maker_mac                  bytea,

    PRIMARY KEY (tenant_id, id),
    CONSTRAINT workload_identities_name CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT workload_identities_issuer CHECK (char_length(issuer) BETWEEN 8 AND 500),
    CONSTRAINT workload_identities_audience CHECK (char_length(audience) BETWEEN 1 AND 500),
    CONSTRAINT workload_identities_jwks_uri CHECK (char_length(jwks_uri) BETWEEN 8 AND 2000),
    CONSTRAINT workload_identities_rules CHECK (json_typeof(rules) = 'array' AND octet_length(rules::text) <= 65536),
    CONSTRAINT workload_identities_role CHECK (role IN ('tenant_admin', 'tenant_signer', 'tenant_auditor', 'tenant_verifier')),
    CONSTRAINT workload_identities_lifetime CHECK (max_token_lifetime_seconds BETWEEN 60 AND 86400),
    CONSTRAINT workload_identities_maker CHECK (creator_type IN ('api_key', 'oidc', 'operator')),
    CONSTRAINT workload_identities_representable CHECK (LEAST(created_at, expires_at, deleted_at, last_used_at) >= '0001-01-01Z'
        AND GREATEST(created_at, expires_at, deleted_at, last_used_at) < '10000-01-01Z')
) WITH (fillfactor = 80); -- free space for changes of last_used_at in place

CREATE INDEX workload_identities_live ON public.workload_identities (tenant_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX workload_identities_by_maker ON public.workload_identities (creator_id) WHERE creator_type = 'api_key' AND deleted_at IS NULL;

-- +goose StatementBegin
-- keyward_guard_workload_identity checks that an identity is never changed but to be deleted, once, and in the time of its last use.
CREATE FUNCTION public.keyward_guard_workload_identity() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF to_jsonb(NEW) - ARRAY['deleted_at', 'last_used_at', 'mac'] IS DISTINCT FROM to_jsonb(OLD) - ARRAY['deleted_at', 'last_used_at', 'mac'] THEN
        PERFORM public.keyward_refuse('workload_identities_identity', 'a workload identity is deleted, not changed');
    END IF;
    IF OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS DISTINCT FROM OLD.deleted_at THEN
        PERFORM public.keyward_refuse('workload_identities_deleted_stays', 'a deleted workload identity does not come back');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER workload_identities_guard BEFORE UPDATE ON public.workload_identities
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_workload_identity();
CREATE CONSTRAINT TRIGGER workload_identities_created_audited AFTER INSERT ON public.workload_identities
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('workload_identity.created', 'id', 'role');
CREATE CONSTRAINT TRIGGER workload_identities_deleted_audited AFTER UPDATE OF deleted_at ON public.workload_identities
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.deleted_at IS DISTINCT FROM OLD.deleted_at)
    EXECUTE FUNCTION public.keyward_guard_audited('workload_identity.deleted', 'id', 'role');
CREATE TRIGGER workload_identities_never_deleted BEFORE DELETE OR TRUNCATE ON public.workload_identities
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();

GRANT SELECT, INSERT, UPDATE ON public.workload_identities TO keyward_platform, keyward_app;

ALTER TABLE public.workload_identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.workload_identities FORCE ROW LEVEL SECURITY;
CREATE POLICY every_tenant ON public.workload_identities TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY one_tenant ON public.workload_identities TO keyward_app
    USING (tenant_id = nullif(current_setting('keyward.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('keyward.tenant_id', true), '')::uuid);

RESET search_path;
RESET ROLE;
