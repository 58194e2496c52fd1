-- name: DatabaseClock :one
SELECT clock_timestamp()::timestamptz AS now;

-- name: LoginIsSuperuser :one
SELECT COALESCE(bool_or(rolsuper), false)::boolean AS super FROM pg_catalog.pg_roles WHERE rolname = session_user;

-- name: UnguardedRoles :many
-- Serving roles that are missing or bypass row level security.
SELECT wanted.name::text AS name
FROM unnest(ARRAY['keyward_owner', 'keyward_app', 'keyward_platform', 'keyward_public']) AS wanted (name)
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = wanted.name
WHERE r.rolname IS NULL OR r.rolsuper OR r.rolbypassrls;

-- name: UnguardedTables :many
-- Tables of tenants without forced row level security.
SELECT relname::text AS name
FROM pg_catalog.pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  AND relname IN ('tenants', 'policies', 'keys', 'data_keys', 'audit_events', 'api_keys', 'idempotency_keys', 'approvals', 'webhooks', 'webhook_deliveries')
  AND NOT (relrowsecurity AND relforcerowsecurity);

-- name: EndOfPolicies :one
-- The tenant at the end of a range of this many policies after another tenant; the greatest possible id if there are fewer.
SELECT COALESCE((SELECT tenant_id FROM policies WHERE tenant_id > @after_tenant_id::uuid ORDER BY tenant_id OFFSET @policies::integer LIMIT 1),
    'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid AS tenant_id;

-- name: PoliciesWithoutKeys :many
-- Live policies of a range without exactly one active and one standby key.
SELECT t.slug, p.alg
FROM policies p
JOIN tenants t ON t.id = p.tenant_id AND t.status <> 'deleted'
LEFT JOIN keys k ON k.tenant_id = p.tenant_id AND k.alg = p.alg AND k.state IN ('active', 'standby')
    AND k.tenant_id > @after_tenant_id::uuid AND k.tenant_id <= @until_tenant_id::uuid
WHERE p.retired_at IS NULL AND p.tenant_id > @after_tenant_id::uuid AND p.tenant_id <= @until_tenant_id::uuid
GROUP BY t.slug, p.alg
HAVING count(*) FILTER (WHERE k.state = 'active') <> 1 OR count(*) FILTER (WHERE k.state = 'standby') <> 1
ORDER BY t.slug, p.alg
LIMIT 20;

-- name: CountMasterKeys :one
SELECT count(*) FROM master_keys;
