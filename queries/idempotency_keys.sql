-- name: InsertIdempotencyKey :exec
INSERT INTO idempotency_keys (tenant_id, credential_id, key, approval_id, request_hash, answer, created_at)
VALUES (@tenant_id, @credential_id, @key, @approval_id, @request_hash, @answer, clock_timestamp());

-- name: GetIdempotencyKey :one
SELECT request_hash, answer
FROM idempotency_keys
WHERE tenant_id = @tenant_id AND credential_id = @credential_id AND key = @key AND approval_id = @approval_id;

-- name: ForgetIdempotencyKeys :execrows
DELETE FROM idempotency_keys WHERE created_at < @before::timestamptz;
