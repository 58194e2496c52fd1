-- name: InsertIdempotencyKey :exec
INSERT INTO idempotency_keys (tenant_id, credential_id, key, approval_id, request_hash, answer, created_at)
VALUES (@tenant_id, @credential_id, @key, @approval_id, @request_hash, @answer, clock_timestamp());

-- name: GetIdempotencyKey :one
SELECT request_hash, answer
FROM idempotency_keys
WHERE tenant_id = @tenant_id AND credential_id = @credential_id AND key = @key AND approval_id = @approval_id;

-- name: CountIdempotencyKeys :one
-- Counts the answers that are stored for a credential in a tenant, and for the whole tenant,
-- neither further than to the number that matters.
SELECT
    (SELECT count(*) FROM (
        SELECT 1 FROM idempotency_keys c WHERE c.tenant_id = @tenant_id AND c.credential_id = @credential_id LIMIT @most_of_credential::bigint
    ) a)::bigint AS of_credential,
    (SELECT count(*) FROM (
        SELECT 1 FROM idempotency_keys t WHERE t.tenant_id = @tenant_id LIMIT @most_of_tenant::bigint
    ) b)::bigint AS of_tenant;

-- name: ForgetIdempotencyKeys :execrows
DELETE FROM idempotency_keys WHERE created_at < @before::timestamptz;
