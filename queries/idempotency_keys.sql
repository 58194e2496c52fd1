-- name: InsertIdempotencyKey :exec
INSERT INTO idempotency_keys (tenant_id, credential_id, key, request_hash, resource_id, created_at)
VALUES (@tenant_id, @credential_id, @key, @request_hash, @resource_id, @created_at);

-- name: GetIdempotencyKey :one
SELECT request_hash, resource_id FROM idempotency_keys WHERE tenant_id = @tenant_id AND credential_id = @credential_id AND key = @key;

-- name: ForgetIdempotencyKeys :execrows
DELETE FROM idempotency_keys WHERE created_at < @before::timestamptz;
