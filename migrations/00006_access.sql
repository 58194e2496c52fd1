-- +goose Up
SET LOCAL ROLE keyward_owner;

-- Credentials. The key's secret is known only to its bearer; the id is public.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    tenant_id    uuid REFERENCES tenants (id),
    role         text        NOT NULL,
    name         text        NOT NULL,
    secret_hash  bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,

    CONSTRAINT api_keys_role CHECK (role IN
        ('platform_admin', 'platform_auditor', 'tenant_admin', 'tenant_signer', 'tenant_auditor')),
    CONSTRAINT api_keys_role_has_its_tenant CHECK ((tenant_id IS NOT NULL) = (left(role, 7) = 'tenant_')),
    CONSTRAINT api_keys_name_length CHECK (char_length(name) <= 200),
    CONSTRAINT api_keys_secret_hash CHECK (octet_length(secret_hash) = 32)
);

CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, created_at DESC, id DESC);

-- +goose StatementBegin
CREATE FUNCTION keyward_guard_api_key() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF (NEW.id, NEW.tenant_id, NEW.role, NEW.secret_hash, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.tenant_id, OLD.role, OLD.secret_hash, OLD.created_at) THEN
        PERFORM keyward_refuse('api_keys_identity', 'a credential keeps its tenant, role and secret');
    END IF;
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        PERFORM keyward_refuse('api_keys_revoked_stays', 'a revoked credential does not come back');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER api_keys_guard BEFORE UPDATE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_api_key();
-- All but when it was last used.
CREATE CONSTRAINT TRIGGER api_keys_audited AFTER INSERT OR UPDATE OF tenant_id, role, name, secret_hash, expires_at, revoked_at ON api_keys
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_audited('^api_key\.');
CREATE TRIGGER api_keys_never_deleted BEFORE DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION keyward_guard_never_deleted();

-- What an Idempotency-Key of a credential made, written in the transaction
-- that made it. The worker forgets rows after a day.
CREATE TABLE idempotency_keys (
    tenant_id     uuid        NOT NULL REFERENCES tenants (id),
    credential_id text        NOT NULL,
    key           text        NOT NULL,
    request_hash  bytea       NOT NULL,
    resource_id   uuid        NOT NULL,
    created_at    timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, credential_id, key),
    CONSTRAINT idempotency_keys_length CHECK (char_length(key) BETWEEN 1 AND 255)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Leadership. Times are the database's own, so that replicas' clocks do not matter.
CREATE TABLE leases (
    name       text PRIMARY KEY,
    holder     text        NOT NULL,
    term       bigint      NOT NULL,
    expires_at timestamptz NOT NULL
);

RESET ROLE;
