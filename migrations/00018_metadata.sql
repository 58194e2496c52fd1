-- +goose Up
SET LOCAL ROLE keyward_owner;

-- What a tenant's own provider offers (OpenID Connect Discovery 1.0 section 3,
-- RFC 8414 section 2): members of its discovery documents. NULL: none. It is
-- kept byte for byte, so that its readers' entity tags hold. Issuer, keys and
-- algorithms are not the tenant's to say.
ALTER TABLE tenants
    ADD COLUMN metadata json,
    ADD CONSTRAINT tenants_metadata CHECK (json_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384
        AND metadata -> 'issuer' IS NULL AND metadata -> 'jwks_uri' IS NULL AND metadata -> 'id_token_signing_alg_values_supported' IS NULL);

-- +goose StatementBegin
CREATE FUNCTION keyward_guard_metadata() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM keyward_refuse('tenants_change_is_audited', 'a tenant does not change without an audit event');
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER tenants_metadata_guard BEFORE UPDATE OF metadata ON tenants
    FOR EACH ROW WHEN (NEW.audit_seq = OLD.audit_seq AND NEW.metadata::text IS DISTINCT FROM OLD.metadata::text)
    EXECUTE FUNCTION keyward_guard_metadata();

GRANT SELECT (metadata) ON tenants TO keyward_public;

RESET ROLE;
