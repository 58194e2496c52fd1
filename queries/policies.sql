-- name: UpsertPolicy :exec
INSERT INTO policies (tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds,
    purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, min_adoption, max_adoption_wait_seconds, due_at, created_at, updated_at, mac)
VALUES (@tenant_id, @alg, @is_default, sqlc.narg(rsa_bits), @rotation_interval_seconds, @publish_lead_seconds, @grace_period_seconds,
    @purge_after_seconds, @default_token_ttl_seconds, @max_token_ttl_seconds, @max_published_keys, @min_adoption, @max_adoption_wait_seconds, sqlc.narg(due_at), @updated_at, @updated_at, @mac)
ON CONFLICT (tenant_id, alg) DO UPDATE
SET is_default = excluded.is_default, rsa_bits = excluded.rsa_bits, rotation_interval_seconds = excluded.rotation_interval_seconds,
    publish_lead_seconds = excluded.publish_lead_seconds, grace_period_seconds = excluded.grace_period_seconds,
    purge_after_seconds = excluded.purge_after_seconds, default_token_ttl_seconds = excluded.default_token_ttl_seconds,
    max_token_ttl_seconds = excluded.max_token_ttl_seconds, max_published_keys = excluded.max_published_keys,
    min_adoption = excluded.min_adoption, max_adoption_wait_seconds = excluded.max_adoption_wait_seconds,
    due_at = excluded.due_at, updated_at = excluded.updated_at, retired_at = NULL, mac = excluded.mac;

-- name: ClearDefaultPolicy :exec
UPDATE policies SET is_default = false, updated_at = @updated_at, mac = @mac WHERE tenant_id = @tenant_id AND alg = @alg;

-- name: RetirePolicies :execrows
UPDATE policies
SET retired_at = @retired_at, updated_at = @retired_at, is_default = false, mac = m.mac
FROM (SELECT unnest(@algs::text[]) AS alg, unnest(@codes::bytea[]) AS mac) AS m
WHERE policies.tenant_id = @tenant_id AND policies.alg = m.alg AND policies.retired_at IS NULL;

-- name: ListPolicies :many
-- Includes retired policies: their last keys still have to expire.
SELECT tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds,
    purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, min_adoption, max_adoption_wait_seconds, due_at, created_at, updated_at, retired_at, mac
FROM policies
WHERE tenant_id = @tenant_id
ORDER BY is_default DESC, created_at, alg;

-- name: ListPoliciesOfTenants :many
SELECT tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds,
    purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, min_adoption, max_adoption_wait_seconds, due_at, created_at, updated_at, retired_at, mac
FROM policies
WHERE tenant_id = ANY (@tenant_ids::uuid[]);

-- name: DuePolicies :many
-- The head of the worker's queue.
SELECT tenant_id, due_at::timestamptz AS due_at, rotation_interval_seconds FROM policies WHERE due_at <= @now::timestamptz ORDER BY due_at, tenant_id, alg LIMIT @batch::integer;

-- name: NextDueAt :one
SELECT due_at FROM policies WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1;

-- name: CountDuePolicies :one
-- The backlog of the worker, counted up to a limit.
SELECT count(*) FROM (SELECT 1 FROM policies WHERE due_at <= @now::timestamptz LIMIT 10000) AS due;

-- name: SetPoliciesDue :exec
-- The epoch stands for never.
UPDATE policies
SET due_at = NULLIF(m.due_at, 'epoch'::timestamptz)
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@algs::text[]) AS alg, unnest(@due_ats::timestamptz[]) AS due_at) AS m
WHERE policies.tenant_id = m.tenant_id AND policies.alg = m.alg;

-- name: LookAgainAtPolicies :exec
-- Makes the worker plan again, after a change of the conditions of rotations.
UPDATE policies SET due_at = @now::timestamptz WHERE tenant_id = @tenant_id AND due_at > @now::timestamptz;
