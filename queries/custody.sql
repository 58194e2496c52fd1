-- name: InsertMasterKey :exec
INSERT INTO master_keys (id, uri, version, is_current, key_check, endorsed_by, endorsement, authority, created_at)
VALUES (@id, @uri, @version, true, @key_check, sqlc.narg(endorsed_by), sqlc.narg(endorsement), @authority, @created_at);

-- name: ListMasterKeys :many
SELECT id, uri, version, is_current, key_check, endorsed_by, endorsement, authority, created_at, retired_at
FROM master_keys
ORDER BY created_at, id;

-- name: LockCurrentMasterKey :one
SELECT id FROM master_keys WHERE is_current FOR NO KEY UPDATE;

-- name: SupersedeMasterKey :execrows
UPDATE master_keys SET is_current = false WHERE id = @id AND is_current;

-- name: RetireMasterKey :execrows
UPDATE master_keys SET retired_at = @retired_at WHERE id = @id AND retired_at IS NULL AND NOT is_current;

-- name: CountWrappedDataKeys :many
SELECT master_key_id, count(*) AS data_keys FROM data_keys WHERE master_key_id IS NOT NULL GROUP BY master_key_id;

-- name: CountStaleDataKeys :one
-- The number of data keys that a re-wrap still has to do. Without a re-wrap no data key is read: a retired master key wraps none.
SELECT COALESCE(sum(stale.data_keys), 0)::bigint AS data_keys
FROM master_keys m
CROSS JOIN LATERAL (SELECT count(*) AS data_keys FROM data_keys d WHERE d.master_key_id = m.id) AS stale
WHERE NOT m.is_current AND m.retired_at IS NULL;

-- name: InsertDataKey :exec
INSERT INTO data_keys (tenant_id, version, is_current, wrapped, master_key_id, created_at)
VALUES (@tenant_id, @version, true, @wrapped, @master_key_id, @created_at);

-- name: CurrentDataKeys :many
SELECT tenant_id, version, wrapped, master_key_id FROM data_keys WHERE tenant_id = ANY (@tenant_ids::uuid[]) AND is_current;

-- name: GetDataKey :one
SELECT tenant_id, version, wrapped, master_key_id FROM data_keys WHERE tenant_id = @tenant_id AND version = @version;

-- name: DataKeysWrappedBy :many
-- A batch of a re-wrap, after a tenant.
SELECT tenant_id, version, wrapped
FROM data_keys
WHERE master_key_id = @master_key_id AND tenant_id > @after_tenant_id
ORDER BY tenant_id, version
LIMIT @batch::integer;

-- name: RewrapDataKeys :execrows
UPDATE data_keys
SET wrapped = m.wrapped, master_key_id = @new_master_key_id::uuid, rewrapped_at = @rewrapped_at::timestamptz
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@versions::integer[]) AS version, unnest(@wrappeds::bytea[]) AS wrapped) AS m
WHERE data_keys.tenant_id = m.tenant_id AND data_keys.version = m.version
  AND data_keys.master_key_id = @old_master_key_id::uuid;

-- name: SupersedeDataKey :execrows
UPDATE data_keys SET is_current = false WHERE tenant_id = @tenant_id AND is_current;

-- name: ListLiveDataKeys :many
SELECT tenant_id, version, wrapped, master_key_id FROM data_keys WHERE tenant_id = @tenant_id AND destroyed_at IS NULL ORDER BY version;

-- name: DestroyDataKeys :execrows
-- Destroys the data keys before a version.
UPDATE data_keys
SET wrapped = NULL, master_key_id = NULL, is_current = false, destroyed_at = @destroyed_at
WHERE tenant_id = @tenant_id AND version < @before_version AND destroyed_at IS NULL;

-- name: ListDataKeys :many
-- Every version that ever existed, without the wrapped key.
SELECT version, created_at, destroyed_at FROM data_keys WHERE tenant_id = @tenant_id ORDER BY version;

-- name: StillWrappedBy :many
-- The tenants' data keys that a re-wrap still has to move, read under the tenants' locks.
SELECT tenant_id, version FROM data_keys WHERE master_key_id = @master_key_id AND tenant_id = ANY (@tenant_ids::uuid[]);
