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
-- Tables of tenants, which are those that say of each row whose it is, without forced row level security.
SELECT c.relname::text AS name
FROM pg_catalog.pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND (c.relname = 'tenants'
    OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
ORDER BY c.relname;

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

-- The rows that confer authority, in stretches, so that the codes of all of them can be checked.

-- name: TenantsToCheck :many
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id > @after_id::uuid AND status <> 'deleted'
ORDER BY id
LIMIT @stretch::integer;

-- name: PoliciesToCheck :many
SELECT tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds,
    purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, min_adoption, max_adoption_wait_seconds, due_at, created_at, updated_at, retired_at, mac
FROM policies
WHERE (tenant_id, alg) > (@after_tenant_id::uuid, @after_alg::text)
ORDER BY tenant_id, alg
LIMIT @stretch::integer;

-- name: APIKeysToCheck :many
SELECT id, tenant_id, role, name, secret_hash, created_at, expires_at, revoked_at, last_used_at, creator_type, creator_id, creator_name, mac, maker_mac
FROM api_keys
WHERE id > @after_id::uuid
ORDER BY id
LIMIT @stretch::integer;

-- name: WorkloadIdentitiesToCheck :many
SELECT tenant_id, id, name, issuer, audience, jwks_uri, rules, role, max_token_lifetime_seconds, created_at, expires_at, deleted_at, last_used_at,
    creator_type, creator_id, creator_name, mac, maker_mac
FROM workload_identities
WHERE (tenant_id, id) > (@after_tenant_id::uuid, @after_id::uuid)
ORDER BY tenant_id, id
LIMIT @stretch::integer;

-- name: ApprovalsToCheck :many
SELECT tenant_id, id, operation, effects, operation_id, path, changes, request_hash, status, requester_type, requester_id, requester_name,
    decider_type, decider_id, decider_name, created_at, expires_at, decided_at, used_at, mac
FROM approvals
WHERE (tenant_id, id) > (@after_tenant_id::uuid, @after_id::uuid) AND status IN ('pending', 'approved')
ORDER BY tenant_id, id
LIMIT @stretch::integer;

-- name: ConsoleSessionsToCheck :many
SELECT token_hash, api_key_id, subject, subject_name, role, of_tenant, created_at, last_seen_at, expires_at, mac
FROM console_sessions
WHERE token_hash > @after_token_hash::bytea AND expires_at > @now::timestamptz
ORDER BY token_hash
LIMIT @stretch::integer;

-- name: DomainsToCheck :many
SELECT tenant_id, domain, token, created_at, verified_at, mac
FROM domains
WHERE (tenant_id, domain) > (@after_tenant_id::uuid, @after_domain::text) AND verified_at IS NOT NULL
ORDER BY tenant_id, domain
LIMIT @stretch::integer;

-- name: RestoredPolicies :many
-- Policies that are not from the time of the last change in the tenant's history.
SELECT p.alg
FROM policies p
WHERE p.tenant_id = @tenant_id AND p.updated_at IS DISTINCT FROM GREATEST(
    (SELECT max(e.at) FROM audit_events e
    WHERE e.tenant_id = p.tenant_id AND e.seq <= 256 AND e.action IN ('policy.created', 'policy.updated', 'policy.retired')
      AND COALESCE(e.details ->> 'alg', e.details -> 'after' ->> 'alg') = p.alg),
    (SELECT max(e.at) FROM audit_events e
    WHERE e.tenant_id = p.tenant_id AND e.seq > 256 AND e.action IN ('policy.created', 'policy.updated', 'policy.retired')
      AND COALESCE(e.details ->> 'alg', e.details -> 'after' ->> 'alg') = p.alg))
ORDER BY p.alg;

-- name: RestoredDomains :many
-- Verified domains that are not from the time of the last verification or removal in the tenant's history.
SELECT d.domain
FROM domains d
WHERE d.tenant_id = @tenant_id AND d.verified_at IS NOT NULL AND d.verified_at IS DISTINCT FROM GREATEST(
    (SELECT max(e.at) FROM audit_events e
    WHERE e.tenant_id = d.tenant_id AND e.seq <= 256 AND e.action IN ('domain.verified', 'domain.removed') AND e.details ->> 'domain' = d.domain),
    (SELECT max(e.at) FROM audit_events e
    WHERE e.tenant_id = d.tenant_id AND e.seq > 256 AND e.action IN ('domain.verified', 'domain.removed') AND e.details ->> 'domain' = d.domain))
ORDER BY d.domain;

-- name: SettingsChangedAt :one
-- The time of the last change of a tenant's names, settings or status, as its history has it.
SELECT COALESCE(GREATEST(
    (SELECT max(b.at) FROM audit_events b WHERE b.tenant_id = @tenant_id AND b.seq <= 256
        AND b.action IN ('tenant.created', 'tenant.updated', 'tenant.suspended', 'tenant.resumed', 'tenant.deleted')),
    (SELECT max(l.at) FROM audit_events l WHERE l.tenant_id = @tenant_id AND l.seq > 256
        AND l.action IN ('tenant.created', 'tenant.updated', 'tenant.suspended', 'tenant.resumed', 'tenant.deleted'))), 'epoch')::timestamptz AS at;

-- name: RevivedAPIKeys :many
-- Live credentials that the tenant's history says are revoked. The platform's history has those without tenant.
SELECT k.id
FROM (
    SELECT b.tenant_id, b.details FROM audit_events b WHERE b.tenant_id = @tenant_id AND b.seq <= 256 AND b.action = 'api_key.revoked'
    UNION ALL
    SELECT l.tenant_id, l.details FROM audit_events l WHERE l.tenant_id = @tenant_id AND l.seq > 256 AND l.action = 'api_key.revoked'
) AS e
JOIN tenants t ON t.id = e.tenant_id
JOIN api_keys k ON k.id::text = e.details ->> 'id' AND (k.tenant_id = t.id OR k.tenant_id IS NULL AND t.slug = 'platform')
WHERE k.revoked_at IS NULL
ORDER BY k.id;

-- name: RevivedWorkloadIdentities :many
-- Live workload identities that the tenant's history says are deleted.
SELECT w.id
FROM (
    SELECT b.details FROM audit_events b WHERE b.tenant_id = @tenant_id AND b.seq <= 256 AND b.action = 'workload_identity.deleted'
    UNION ALL
    SELECT l.details FROM audit_events l WHERE l.tenant_id = @tenant_id AND l.seq > 256 AND l.action = 'workload_identity.deleted'
) AS e
JOIN workload_identities w ON w.tenant_id = @tenant_id AND w.id::text = e.details ->> 'id'
WHERE w.deleted_at IS NULL
ORDER BY w.id;

-- name: DescribeDatabase :one
-- The size is 0 if the role may not know it.
SELECT current_setting('server_version')::text AS version, current_database()::text AS name, session_user::text AS login,
    COALESCE(CASE WHEN has_database_privilege(current_database(), 'CONNECT') THEN pg_database_size(current_database()) END, 0)::bigint AS bytes;
