-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Privileges. Only the owner may delete, and its own triggers refuse that too.
-- Excepted are idempotency keys, domains, deliveries and deleted webhooks, which are no
-- history: decisions are in audit_events.
GRANT SELECT, INSERT, UPDATE ON public.tenants, public.policies, public.keys, public.api_keys, public.approvals TO keyward_platform;
GRANT SELECT, INSERT ON public.audit_events TO keyward_platform;
GRANT SELECT, INSERT, UPDATE ON public.data_keys, public.master_keys, public.leases TO keyward_platform;
GRANT SELECT, INSERT, DELETE ON public.idempotency_keys TO keyward_platform;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.domains, public.webhooks, public.webhook_deliveries TO keyward_platform;

-- master_keys are the platform's: one tenant's transaction opens data keys with
-- the master keys that the process has loaded.
GRANT SELECT, UPDATE ON public.tenants TO keyward_app;
GRANT SELECT, INSERT, UPDATE ON public.policies, public.keys, public.api_keys, public.approvals, public.webhooks TO keyward_app;
GRANT SELECT, INSERT ON public.audit_events, public.idempotency_keys TO keyward_app;
GRANT SELECT, UPDATE ON public.webhook_deliveries TO keyward_app;
GRANT SELECT, INSERT ON public.domains TO keyward_app;
GRANT SELECT ON public.data_keys TO keyward_app;

GRANT SELECT (id, slug, issuer, custom_domain, metadata, jwks_path, jwks_headers, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, not_before, approval_required, audit_seq, feed_xid, jwks, jwks_outline, jwks_xid, updated_at, mac)
    ON public.tenants TO keyward_public;
GRANT SELECT (tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds, purge_after_seconds,
    default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, min_adoption, max_adoption_wait_seconds, updated_at, retired_at, mac) ON public.policies TO keyward_public;
GRANT SELECT (tenant_id, kid, alg, algs, state, public_jwk, created_at, activated_at, deprecated_at,
    expires_at, expired_at, revoked_at, revocation_reason) ON public.keys TO keyward_public;
GRANT SELECT (tenant_id, seq, at) ON public.audit_events TO keyward_public;

-- Row level security, FORCEd because the owner would be exempt. The condition is
-- keyward_tenant() written out: PostgreSQL does not inline a function that fixes its
-- search_path, and a call for each row costs more than the expression.
-- +goose StatementBegin
DO $$
DECLARE
    name text;
    own  text;
    mine CONSTANT text := 'nullif(current_setting(''keyward.tenant_id'', true), '''')::uuid';
BEGIN
    FOREACH name IN ARRAY ARRAY['tenants', 'policies', 'data_keys', 'audit_events', 'keys', 'api_keys', 'idempotency_keys', 'approvals',
        'domains', 'webhooks', 'webhook_deliveries'] LOOP
        own := format('(%I = %s)', CASE name WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END, mine);
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY every_tenant ON public.%I TO keyward_platform USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY one_tenant ON public.%I TO keyward_app%s USING %s WITH CHECK %s', name,
            CASE WHEN name IN ('policies', 'keys', 'audit_events') THEN ', keyward_public' ELSE '' END, own, own);
    END LOOP;
END
$$;
-- +goose StatementEnd

-- A public reader finds a tenant by its address before it knows the id.
CREATE POLICY any_live_tenant ON public.tenants TO keyward_public USING (status <> 'deleted');

RESET search_path;
RESET ROLE;

-- The table of goose, made by the login that migrates; readiness reads it.
GRANT SELECT ON public.keyward_migrations TO keyward_platform;
