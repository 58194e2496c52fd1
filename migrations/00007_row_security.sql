-- +goose Up
SET LOCAL ROLE keyward_owner;

-- Who may touch what. Nobody but the owner may delete, and the owner's own
-- triggers refuse that too (idempotency_keys, which is no history, excepted).
GRANT SELECT, INSERT, UPDATE ON tenants, policies, keys, api_keys TO keyward_platform;
GRANT SELECT, INSERT ON audit_events TO keyward_platform;
GRANT SELECT, INSERT, UPDATE ON data_keys, master_keys TO keyward_platform;
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO keyward_platform;
GRANT SELECT, INSERT, UPDATE ON leases TO keyward_platform;

GRANT SELECT, UPDATE ON tenants TO keyward_app;
GRANT SELECT, INSERT, UPDATE ON policies, keys, api_keys TO keyward_app;
GRANT SELECT, INSERT ON audit_events, idempotency_keys TO keyward_app;
GRANT SELECT ON data_keys, master_keys TO keyward_app;

GRANT SELECT (id, slug, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, not_before, audit_seq, created_at, updated_at) ON tenants TO keyward_public;
GRANT SELECT (tenant_id, alg, is_default, default_token_ttl_seconds, max_token_ttl_seconds, updated_at, retired_at)
    ON policies TO keyward_public;
GRANT SELECT (tenant_id, kid, alg, state, origin, public_jwk, created_at, published_at, activated_at, deprecated_at,
    expires_at, expired_at, revoked_at, revocation_reason, purged_at) ON keys TO keyward_public;

GRANT SELECT (tenant_id, seq, at) ON audit_events TO keyward_public;

-- Rows. FORCE, because an owner would be exempt.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE policies ENABLE ROW LEVEL SECURITY;
ALTER TABLE policies FORCE ROW LEVEL SECURITY;
ALTER TABLE keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE keys FORCE ROW LEVEL SECURITY;
ALTER TABLE data_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE data_keys FORCE ROW LEVEL SECURITY;
ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;

CREATE POLICY every_tenant ON tenants TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY every_tenant ON policies TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY every_tenant ON keys TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY every_tenant ON data_keys TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY every_tenant ON audit_events TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY every_tenant ON api_keys TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY every_tenant ON idempotency_keys TO keyward_platform USING (true) WITH CHECK (true);

CREATE POLICY one_tenant ON tenants TO keyward_app USING (id = keyward_tenant()) WITH CHECK (id = keyward_tenant());
CREATE POLICY one_tenant ON policies TO keyward_app, keyward_public
    USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());
CREATE POLICY one_tenant ON keys TO keyward_app, keyward_public
    USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());
CREATE POLICY one_tenant ON data_keys TO keyward_app USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());
CREATE POLICY one_tenant ON audit_events TO keyward_app, keyward_public USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());
CREATE POLICY one_tenant ON api_keys TO keyward_app USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());
CREATE POLICY one_tenant ON idempotency_keys TO keyward_app USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());

-- A public reader looks a tenant up by its address before it knows the id.
CREATE POLICY any_live_tenant ON tenants TO keyward_public USING (status <> 'deleted');

RESET ROLE;

-- goose's own table, made by whoever migrates; readiness looks at it.
GRANT SELECT ON keyward_migrations TO keyward_platform;
