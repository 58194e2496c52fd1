-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- API keys. Only the bearer knows the secret; the id is public.
CREATE TABLE public.api_keys (
    id           uuid PRIMARY KEY,
    tenant_id    uuid REFERENCES public.tenants (id),
    role         text        NOT NULL,
    name         text        NOT NULL,
    secret_hash  bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    -- Who made it: a second person's approval, and the end of a key, depend on it.
    creator_type text,
    creator_id   text,
    creator_name text,
    -- Authenticates the row (tenant/authority.go). NULL once it is revoked.
    mac          bytea,
    -- Authenticates who made it, and stays when it is revoked.
    maker_mac    bytea,

    CONSTRAINT api_keys_creator CHECK ((creator_id IS NOT NULL) = (creator_type IS NOT NULL) AND (creator_name IS NOT NULL) = (creator_type IS NOT NULL)),
    CONSTRAINT api_keys_role CHECK (role IN
        ('platform_admin', 'platform_auditor', 'tenant_admin', 'tenant_signer', 'tenant_auditor', 'tenant_verifier')),
    CONSTRAINT api_keys_role_has_its_tenant CHECK ((tenant_id IS NOT NULL) = (left(role, 7) = 'tenant_')),
    CONSTRAINT api_keys_name_length CHECK (char_length(name) <= 200),
    CONSTRAINT api_keys_secret_hash CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT api_keys_representable CHECK (LEAST(created_at, expires_at, revoked_at, last_used_at) >= '0001-01-01Z'
        AND GREATEST(created_at, expires_at, revoked_at, last_used_at) < '10000-01-01Z')
) WITH (fillfactor = 80); -- free space for changes of last_used_at in place

CREATE INDEX api_keys_by_tenant ON public.api_keys (tenant_id, created_at DESC, id DESC);
CREATE INDEX api_keys_by_maker ON public.api_keys (creator_id) WHERE creator_type = 'api_key';

-- +goose StatementBegin
-- keyward_guard_api_key checks that an API key keeps its authority and stays revoked.
CREATE FUNCTION public.keyward_guard_api_key() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF (NEW.id, NEW.tenant_id, NEW.role, NEW.secret_hash, NEW.created_at, NEW.creator_type, NEW.creator_id)
        IS DISTINCT FROM (OLD.id, OLD.tenant_id, OLD.role, OLD.secret_hash, OLD.created_at, OLD.creator_type, OLD.creator_id) THEN
        PERFORM public.keyward_refuse('api_keys_identity', 'a credential keeps its tenant, role and secret');
    END IF;
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        PERFORM public.keyward_refuse('api_keys_revoked_stays', 'a revoked credential does not come back');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER api_keys_guard BEFORE UPDATE ON public.api_keys
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_api_key();
-- All columns but the time of the last use.
CREATE CONSTRAINT TRIGGER api_keys_created_audited AFTER INSERT ON public.api_keys
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('api_key.created', 'id', 'role');
CREATE CONSTRAINT TRIGGER api_keys_revoked_audited AFTER UPDATE OF revoked_at ON public.api_keys
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
    EXECUTE FUNCTION public.keyward_guard_audited('api_key.revoked', 'id', 'role');
CREATE CONSTRAINT TRIGGER api_keys_updated_audited AFTER UPDATE OF id, tenant_id, role, name, secret_hash, expires_at ON public.api_keys
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('api_key.updated', 'id', 'role');
CREATE TRIGGER api_keys_never_deleted BEFORE DELETE OR TRUNCATE ON public.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();

-- Hosts that a tenant claims, and proves to own by a DNS TXT record with the token.
-- A verified host belongs to one tenant; its rows go when the tenant is deleted.
CREATE TABLE public.domains (
    tenant_id   uuid        NOT NULL REFERENCES public.tenants (id),
    domain      text        NOT NULL,
    token       text        NOT NULL,
    created_at  timestamptz NOT NULL,
    verified_at timestamptz,
    -- Authenticates that it is verified (tenant/authority.go).
    mac         bytea,

    PRIMARY KEY (tenant_id, domain),
    CONSTRAINT domains_form CHECK (domain = lower(domain) AND char_length(domain) BETWEEN 3 AND 253),
    CONSTRAINT domains_token CHECK (char_length(token) BETWEEN 26 AND 64),
    CONSTRAINT domains_representable CHECK (LEAST(created_at, verified_at) >= '0001-01-01Z' AND GREATEST(created_at, verified_at) < '10000-01-01Z')
);

CREATE UNIQUE INDEX domains_verified ON public.domains (domain) WHERE verified_at IS NOT NULL;

-- +goose StatementBegin
-- keyward_guard_domain checks that a claim is made before it is verified, and stays
-- what it is.
CREATE FUNCTION public.keyward_guard_domain() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.verified_at IS NOT NULL THEN
        PERFORM public.keyward_refuse('domains_birth', 'a domain is claimed before it is verified');
    END IF;
    IF TG_OP = 'UPDATE' AND ((NEW.tenant_id, NEW.domain, NEW.token, NEW.created_at) IS DISTINCT FROM (OLD.tenant_id, OLD.domain, OLD.token, OLD.created_at)
        OR NEW.verified_at IS NULL) THEN
        PERFORM public.keyward_refuse('domains_identity', 'a domain keeps its tenant and token, and is removed, not unverified');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER domains_guard BEFORE INSERT OR UPDATE ON public.domains
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_domain();
CREATE CONSTRAINT TRIGGER domains_claimed_audited AFTER INSERT ON public.domains
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('domain.claimed', 'domain');
CREATE CONSTRAINT TRIGGER domains_verified_audited AFTER UPDATE ON public.domains
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('domain.verified', 'domain');
CREATE CONSTRAINT TRIGGER domains_removed_audited AFTER DELETE ON public.domains
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('domain.removed', 'domain');

-- Answers to requests with an Idempotency-Key, written in the transaction of the
-- change, so that a request whose answer was lost is answered as the first time. The
-- tenant is that of the request's path, or the platform's. A request with an approval
-- is another than the one that asked for it. The worker deletes rows after a day.
CREATE TABLE public.idempotency_keys (
    tenant_id     uuid        NOT NULL REFERENCES public.tenants (id),
    credential_id text        NOT NULL,
    key           text        NOT NULL,
    approval_id   text        NOT NULL DEFAULT '',
    request_hash  bytea       NOT NULL,
    -- Encrypted: an answer may hold a secret that is shown once (tenant/once.go).
    answer        bytea       NOT NULL,
    created_at    timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, credential_id, key, approval_id),
    CONSTRAINT idempotency_keys_length CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_answer CHECK (octet_length(answer) BETWEEN 45 AND 16777216),
    CONSTRAINT idempotency_keys_representable CHECK (created_at >= '0001-01-01Z' AND created_at < '10000-01-01Z')
);

CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys (created_at);

-- Leadership. All times are the database's, so that clocks of replicas do not matter.
CREATE TABLE public.leases (
    name       text PRIMARY KEY,
    holder     text        NOT NULL,
    term       bigint      NOT NULL,
    expires_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT leases_representable CHECK (LEAST(expires_at, renewed_at) >= '0001-01-01Z' AND GREATEST(expires_at, renewed_at) < '10000-01-01Z')
);

RESET search_path;
RESET ROLE;
