-- name: InsertAPIKey :exec
INSERT INTO api_keys (id, tenant_id, role, name, secret_hash, created_at, expires_at, creator_type, creator_id, creator_name, mac, maker_mac)
VALUES (@id, sqlc.narg(tenant_id), @role, @name, @secret_hash, @created_at, sqlc.narg(expires_at), @creator_type::text, @creator_id::text, @creator_name::text, @mac, @maker_mac);

-- name: GetAPIKey :one
-- An API key of one tenant or, if tenant_id is NULL, of the platform.
SELECT id, tenant_id, role, name, secret_hash, created_at, expires_at, revoked_at, last_used_at, creator_type, creator_id, creator_name, mac, maker_mac
FROM api_keys
WHERE tenant_id IS NOT DISTINCT FROM sqlc.narg(tenant_id)::uuid AND id = @id;

-- name: GetCredential :one
-- For authentication, before the tenant is known; no row if authentication must fail anyway. home_id is the tenant whose audit
-- history has the key's events: its own, or the platform's.
SELECT k.id, k.tenant_id, k.role, k.name, k.secret_hash, k.created_at, k.expires_at, k.creator_type, k.creator_id, k.creator_name, k.mac, t.id AS home_id
FROM api_keys k
JOIN tenants t ON (t.id = k.tenant_id OR k.tenant_id IS NULL AND t.slug = 'platform') AND t.status <> 'deleted'
WHERE k.id = @id AND k.revoked_at IS NULL;

-- name: ListTenantAPIKeys :many
-- Newest first, after the cursor.
SELECT id, tenant_id, role, name, secret_hash, created_at, expires_at, revoked_at, last_used_at, creator_type, creator_id, creator_name, mac, maker_mac
FROM api_keys
WHERE tenant_id = @tenant_id::uuid AND revoked_at IS NULL
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: ListPlatformAPIKeys :many
SELECT id, tenant_id, role, name, secret_hash, created_at, expires_at, revoked_at, last_used_at, creator_type, creator_id, creator_name, mac, maker_mac
FROM api_keys
WHERE tenant_id IS NULL AND revoked_at IS NULL
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: RevokeAPIKeysByID :execrows
-- Rows are locked in the order of TouchAPIKeys.
WITH locked AS (
    SELECT api_keys.id FROM api_keys WHERE api_keys.id = ANY (@ids::uuid[]) ORDER BY api_keys.id FOR NO KEY UPDATE
)
UPDATE api_keys SET revoked_at = @revoked_at, mac = NULL FROM locked WHERE api_keys.id = locked.id AND api_keys.revoked_at IS NULL;

-- name: RevokeTenantAPIKeys :execrows
UPDATE api_keys SET revoked_at = @revoked_at, mac = NULL WHERE tenant_id = @tenant_id::uuid AND revoked_at IS NULL;

-- name: TouchAPIKeys :exec
-- Rows are locked in one order, so that flushes of replicas and revocations do not deadlock.
WITH m AS (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@used_ats::timestamptz[]) AS used_at
), locked AS (
    SELECT api_keys.id FROM api_keys WHERE api_keys.id = ANY (@ids::uuid[]) ORDER BY api_keys.id FOR NO KEY UPDATE
)
UPDATE api_keys
SET last_used_at = GREATEST(last_used_at, m.used_at)
FROM m, locked
WHERE api_keys.id = m.id AND api_keys.id = locked.id;

-- name: ListUnrevokedTenantAPIKeys :many
SELECT id, role, name FROM api_keys WHERE tenant_id = @tenant_id::uuid AND revoked_at IS NULL ORDER BY id FOR NO KEY UPDATE;

-- name: APIKeyMakers :many
-- An API key and the API keys that it descends from, itself first. Of the platform: those of tenants are made by its keys.
WITH RECURSIVE line AS (
    SELECT k.id, k.tenant_id, k.created_at, k.creator_type, k.creator_id, k.creator_name, k.maker_mac, 0 AS depth FROM api_keys k WHERE k.id = @id
    UNION ALL
    SELECT k.id, k.tenant_id, k.created_at, k.creator_type, k.creator_id, k.creator_name, k.maker_mac, line.depth + 1 FROM line
    JOIN api_keys k ON k.id = CASE WHEN line.creator_type = 'api_key' THEN line.creator_id::uuid END
    WHERE line.depth < 1000
)
SELECT id, tenant_id, created_at, creator_type, creator_id, creator_name, maker_mac FROM line ORDER BY depth;

-- name: ListUnrevokedAPIKeys :many
-- Of a tenant or, if tenant_id is NULL, of the platform.
SELECT id, role, name FROM api_keys
WHERE (tenant_id = sqlc.narg(tenant_id)::uuid OR sqlc.narg(tenant_id)::uuid IS NULL AND tenant_id IS NULL) AND revoked_at IS NULL
ORDER BY id FOR NO KEY UPDATE;

-- name: APIKeyDescendants :many
-- The live API keys and workload identities that an API key made, and that these made, revoked and expired ones in between included, in the order
-- of their creation. A workload makes none.
WITH RECURSIVE made AS (
    SELECT k.id FROM api_keys k WHERE k.creator_type = 'api_key' AND k.creator_id = @maker::text
    UNION
    SELECT k.id FROM made JOIN api_keys k ON k.creator_type = 'api_key' AND k.creator_id = made.id::text
), live AS (
    SELECT k.id, k.tenant_id, k.role, k.name, ''::text AS issuer, k.created_at FROM made JOIN api_keys k ON k.id = made.id
    WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > @now::timestamptz)
    UNION ALL
    SELECT w.id, w.tenant_id, w.role, w.name, w.issuer, w.created_at FROM (SELECT @maker::text AS id UNION ALL SELECT made.id::text FROM made) AS makers
    JOIN workload_identities w ON w.creator_type = 'api_key' AND w.creator_id = makers.id AND w.deleted_at IS NULL
    WHERE w.expires_at IS NULL OR w.expires_at > @now::timestamptz
)
SELECT id, tenant_id, role, name, issuer FROM live ORDER BY tenant_id NULLS FIRST, created_at, id;

-- name: CountAPIKeys :one
-- The API keys of a tenant or, if tenant_id is NULL, of the platform, that are live or were made since a time, counted up to a limit.
SELECT count(*) FROM (
    SELECT FROM api_keys
    WHERE (tenant_id = sqlc.narg(tenant_id)::uuid OR sqlc.narg(tenant_id)::uuid IS NULL AND tenant_id IS NULL) AND (revoked_at IS NULL OR created_at > @since::timestamptz)
    LIMIT @most::integer) AS live;
