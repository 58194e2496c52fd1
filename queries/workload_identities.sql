-- name: InsertWorkloadIdentity :exec
INSERT INTO workload_identities (tenant_id, id, name, issuer, audience, jwks_uri, rules, role, max_token_lifetime_seconds, created_at, expires_at,
    creator_type, creator_id, creator_name, mac, maker_mac)
VALUES (@tenant_id, @id, @name, @issuer, @audience, sqlc.narg(jwks_uri), @rules, @role, @max_token_lifetime_seconds, @created_at, sqlc.narg(expires_at),
    @creator_type, @creator_id, @creator_name, @mac, @maker_mac);

-- name: GetWorkloadIdentity :one
-- Also a deleted one.
SELECT tenant_id, id, name, issuer, audience, jwks_uri, rules, role, max_token_lifetime_seconds, created_at, expires_at, deleted_at, last_used_at,
    creator_type, creator_id, creator_name, mac, maker_mac
FROM workload_identities
WHERE tenant_id = @tenant_id AND id = @id;

-- name: ListWorkloadIdentities :many
-- Newest first, after the cursor.
SELECT tenant_id, id, name, issuer, audience, jwks_uri, rules, role, max_token_lifetime_seconds, created_at, expires_at, deleted_at, last_used_at,
    creator_type, creator_id, creator_name, mac, maker_mac
FROM workload_identities
WHERE tenant_id = @tenant_id AND deleted_at IS NULL AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: WorkloadIdentitiesOf :many
-- All live ones of a live tenant, for authentication, in the order in which they are tried.
SELECT w.tenant_id, w.id, w.name, w.issuer, w.audience, w.jwks_uri, w.rules, w.role, w.max_token_lifetime_seconds, w.created_at, w.expires_at, w.deleted_at, w.last_used_at,
    w.creator_type, w.creator_id, w.creator_name, w.mac, w.maker_mac
FROM workload_identities w
JOIN tenants t ON t.id = w.tenant_id AND t.status <> 'deleted'
WHERE w.tenant_id = @tenant_id AND w.deleted_at IS NULL
ORDER BY w.created_at, w.id;

-- name: CountWorkloadIdentities :one
-- The workload identities of a tenant that are live or were made since a time, counted up to a limit.
SELECT count(*) FROM (
    SELECT FROM workload_identities WHERE tenant_id = @tenant_id AND (deleted_at IS NULL OR created_at > @since::timestamptz)
    LIMIT @most::integer) AS counted;

-- name: DeleteWorkloadIdentities :execrows
-- Rows are locked in the order of TouchWorkloadIdentities.
WITH gone AS (
    SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@ids::uuid[]) AS id
), locked AS (
    SELECT w.tenant_id, w.id FROM workload_identities w JOIN gone ON w.tenant_id = gone.tenant_id AND w.id = gone.id ORDER BY w.tenant_id, w.id FOR NO KEY UPDATE OF w
)
UPDATE workload_identities w SET deleted_at = @deleted_at::timestamptz, mac = NULL
FROM locked
WHERE w.tenant_id = locked.tenant_id AND w.id = locked.id AND w.deleted_at IS NULL;

-- name: LockWorkloadIdentities :many
SELECT id, role, name, issuer FROM workload_identities WHERE tenant_id = @tenant_id AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE;

-- name: TouchWorkloadIdentities :exec
-- Rows are locked in one order, so that flushes of replicas and deletions do not deadlock.
WITH m AS (
    SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@ids::uuid[]) AS id, unnest(@used_ats::timestamptz[]) AS used_at
), locked AS (
    SELECT w.tenant_id, w.id FROM workload_identities w JOIN m ON w.tenant_id = m.tenant_id AND w.id = m.id ORDER BY w.tenant_id, w.id FOR NO KEY UPDATE OF w
)
UPDATE workload_identities w
SET last_used_at = GREATEST(w.last_used_at, m.used_at)
FROM m, locked
WHERE w.tenant_id = m.tenant_id AND w.id = m.id AND w.tenant_id = locked.tenant_id AND w.id = locked.id;
