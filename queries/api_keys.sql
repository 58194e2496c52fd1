-- name: InsertAPIKey :exec
INSERT INTO api_keys (id, tenant_id, role, name, secret_hash, created_at, expires_at)
VALUES (@id, sqlc.narg(tenant_id), @role, @name, @secret_hash, @created_at, sqlc.narg(expires_at));

-- name: GetAPIKey :one
SELECT id, tenant_id, role, name, secret_hash, created_at, expires_at, revoked_at, last_used_at FROM api_keys WHERE id = @id;

-- name: ListTenantAPIKeys :many
-- Newest first, after the cursor.
SELECT id, tenant_id, role, name, secret_hash, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE tenant_id = @tenant_id::uuid AND revoked_at IS NULL
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: ListPlatformAPIKeys :many
SELECT id, tenant_id, role, name, secret_hash, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE tenant_id IS NULL AND revoked_at IS NULL
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: RevokeAPIKey :execrows
UPDATE api_keys SET revoked_at = @revoked_at WHERE id = @id AND revoked_at IS NULL;

-- name: RevokeTenantAPIKeys :execrows
UPDATE api_keys SET revoked_at = @revoked_at WHERE tenant_id = @tenant_id::uuid AND revoked_at IS NULL;

-- name: TouchAPIKeys :exec
UPDATE api_keys
SET last_used_at = GREATEST(last_used_at, m.used_at)
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@used_ats::timestamptz[]) AS used_at) AS m
WHERE api_keys.id = m.id;
