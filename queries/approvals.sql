-- name: InsertApproval :exec
INSERT INTO approvals (tenant_id, id, operation, effects, operation_id, path, changes, request_hash, requester_type, requester_id, requester_name, created_at, expires_at, mac)
VALUES (@tenant_id, @id, @operation, @effects, @operation_id, @path, @changes, @request_hash, @requester_type, @requester_id, @requester_name, @created_at, @expires_at, @mac);

-- name: GetApproval :one
SELECT tenant_id, id, operation, effects, operation_id, path, changes, request_hash, status, requester_type, requester_id, requester_name,
    decider_type, decider_id, decider_name, created_at, expires_at, decided_at, used_at, mac
FROM approvals
WHERE tenant_id = @tenant_id AND id = @id;

-- name: ListApprovals :many
-- Newest first, after the cursor. An unfinished approval after its end is expired.
SELECT tenant_id, id, operation, effects, operation_id, path, changes, request_hash, status, requester_type, requester_id, requester_name,
    decider_type, decider_id, decider_name, created_at, expires_at, decided_at, used_at, mac
FROM approvals
WHERE tenant_id = @tenant_id
  AND (@status::text = '' OR @status::text =
       CASE WHEN status IN ('pending', 'approved') AND expires_at <= @now::timestamptz THEN 'expired' ELSE status END)
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: ListWaitingApprovals :many
-- Those of all tenants that wait, newest first, after the cursor. None that was requested before @since has not ended.
SELECT sqlc.embed(a), t.slug, t.name
FROM approvals a
JOIN tenants t ON t.id = a.tenant_id
WHERE a.status = 'pending' AND a.expires_at > @now::timestamptz AND a.created_at > @since::timestamptz
  AND (a.created_at, a.id) < (@before_created_at::timestamptz, @before_id::uuid) AND t.status <> 'deleted'
ORDER BY a.created_at DESC, a.id DESC
LIMIT @page_size::integer;

-- name: DecideApproval :execrows
UPDATE approvals
SET status = @status, decider_type = @decider_type::text, decider_id = @decider_id::text, decider_name = @decider_name::text,
    decided_at = @decided_at::timestamptz, mac = @mac
WHERE tenant_id = @tenant_id AND id = @id AND status = 'pending' AND expires_at > @decided_at::timestamptz;

-- name: UseApproval :execrows
UPDATE approvals SET status = 'used', used_at = @used_at::timestamptz, mac = @mac
WHERE tenant_id = @tenant_id AND id = @id AND status = 'approved' AND expires_at > @used_at::timestamptz;

-- name: ListOpenApprovals :many
-- Approvals that can still be given or used.
SELECT id, operation, status FROM approvals
WHERE tenant_id = @tenant_id AND status IN ('pending', 'approved') AND expires_at > @now::timestamptz
ORDER BY id FOR NO KEY UPDATE;

-- name: EndOpenApprovals :execrows
-- Rejects those that were requested, uses up those that were given.
UPDATE approvals
SET status = CASE status WHEN 'pending' THEN 'rejected' ELSE 'used' END, mac = NULL,
    decider_type = COALESCE(decider_type, @decider_type::text), decider_id = COALESCE(decider_id, @decider_id::text),
    decider_name = COALESCE(decider_name, @decider_name::text), decided_at = COALESCE(decided_at, @now::timestamptz),
    used_at = CASE status WHEN 'approved' THEN @now::timestamptz END
WHERE tenant_id = @tenant_id AND status IN ('pending', 'approved') AND expires_at > @now::timestamptz;

-- name: CountApprovals :one
-- Of those requested since a time: how many wait, and all.
SELECT count(*) FILTER (WHERE status = 'pending') AS pending, count(*) AS requested FROM approvals
WHERE tenant_id = @tenant_id AND created_at > @since::timestamptz;
