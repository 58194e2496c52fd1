-- name: InsertWebhook :exec
INSERT INTO webhooks (tenant_id, id, of_all, url, actions, description, format, created_at, updated_at, place_xid, place_seq)
VALUES (@tenant_id, @id, @of_all, @url::text, @actions, @description, @format, @created_at, @created_at, @place_xid, @place_seq);

-- name: GetWebhook :one
SELECT tenant_id, id, of_all, url, actions, description, format, status, disabled_reason, created_at, updated_at, last_delivery_at
FROM webhooks
WHERE tenant_id = @tenant_id AND id = @id AND of_all = @of_all AND status <> 'deleted';

-- name: ListWebhooks :many
-- Newest first, after the cursor.
SELECT tenant_id, id, of_all, url, actions, description, format, status, disabled_reason, created_at, updated_at, last_delivery_at
FROM webhooks
WHERE tenant_id = @tenant_id AND of_all = @of_all AND status <> 'deleted'
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: CountWebhooks :one
SELECT count(*) FROM webhooks WHERE tenant_id = @tenant_id AND of_all = @of_all AND status <> 'deleted';

-- name: UpdateWebhook :execrows
UPDATE webhooks
SET url = sqlc.narg(url), actions = @actions, description = @description, status = @status, disabled_reason = sqlc.narg(disabled_reason),
    updated_at = @updated_at, due_at = CASE WHEN @status = 'active' THEN due_at END
WHERE tenant_id = @tenant_id AND id = @id AND status <> 'deleted';

-- name: RestartWebhook :exec
-- Continues from the current position and clears earlier failures.
UPDATE webhooks
SET place_xid = @place_xid, place_tenant_id = '00000000-0000-0000-0000-000000000000', place_seq = @place_seq,
    failures = 0, failing_since = NULL, leased_until = NULL
WHERE tenant_id = @tenant_id AND id = @id
  AND (place_xid, place_tenant_id, place_seq) <= (@place_xid::xid8, '00000000-0000-0000-0000-000000000000'::uuid, @place_seq::bigint);

-- name: FailPendingDeliveries :exec
UPDATE webhook_deliveries
SET status = 'failed', due_at = NULL, last_error = COALESCE(last_error, @last_error)
WHERE tenant_id = @tenant_id AND webhook_id = @webhook_id AND status = 'pending';

-- name: ListDeliveries :many
-- Newest first, after the cursor; ids are in the order of creation.
SELECT d.tenant_id, d.webhook_id, d.id, d.event_tenant_id, t.slug, d.event_seq, d.action, d.status, d.attempts, d.due_at, d.last_attempt_at,
    d.last_status, d.last_error, d.delivered_at, d.created_at
FROM webhook_deliveries d
JOIN tenants t ON t.id = d.event_tenant_id
WHERE d.tenant_id = @tenant_id AND d.webhook_id = @webhook_id AND d.id < @before_id::uuid
  AND (@status::text = '' OR d.status = @status::text)
ORDER BY d.id DESC
LIMIT @page_size::integer;

-- name: GetDelivery :one
SELECT d.tenant_id, d.webhook_id, d.id, d.event_tenant_id, t.slug, d.event_seq, d.action, d.status, d.attempts, d.due_at, d.last_attempt_at,
    d.last_status, d.last_error, d.delivered_at, d.created_at
FROM webhook_deliveries d
JOIN tenants t ON t.id = d.event_tenant_id
WHERE d.tenant_id = @tenant_id AND d.webhook_id = @webhook_id AND d.id = @id;

-- name: LockWebhook :one
SELECT status, failures, failing_since
FROM webhooks
WHERE tenant_id = @tenant_id AND id = @id
FOR NO KEY UPDATE;

-- name: AskForDelivery :execrows
UPDATE webhook_deliveries
SET status = 'pending', attempts = 0, asked_at = @asked_at, due_at = @asked_at
WHERE tenant_id = @tenant_id AND webhook_id = @webhook_id AND id = @id;

-- name: WebhookIsDue :execrows
UPDATE webhooks SET due_at = LEAST(due_at, @due_at::timestamptz) WHERE tenant_id = @tenant_id AND id = @id AND status = 'active';

-- name: LockWebhooksBehind :many
-- Webhooks of these tenants with events after their position. It waits for locks, in one order: a webhook skipped while its last
-- delivery is recorded would have to wait for the next event.
SELECT w.tenant_id, w.id, w.actions, w.place_seq
FROM webhooks w
JOIN tenants t ON t.id = w.tenant_id
WHERE w.tenant_id = ANY (@tenant_ids::uuid[]) AND NOT w.of_all AND w.status = 'active' AND w.ended_at IS NULL AND t.audit_seq > w.place_seq
ORDER BY w.tenant_id, w.id
LIMIT @batch::integer
FOR NO KEY UPDATE OF w;

-- name: TenantsToldOf :many
-- Tenants with webhooks and with events that may have been invisible while since was the oldest running transaction.
SELECT DISTINCT e.tenant_id
FROM audit_events e
WHERE e.feed_xid >= @since::xid8
  AND EXISTS (SELECT 1 FROM webhooks w WHERE w.tenant_id = e.tenant_id AND NOT w.of_all AND w.status = 'active' AND w.ended_at IS NULL);

-- name: LockAnyWebhooksBehind :many
-- LockWebhooksBehind for all tenants, at a cost by the number of webhooks.
SELECT w.tenant_id, w.id, w.actions, w.place_seq
FROM webhooks w
JOIN tenants t ON t.id = w.tenant_id
WHERE NOT w.of_all AND w.status = 'active' AND w.ended_at IS NULL AND t.audit_seq > w.place_seq
ORDER BY w.tenant_id, w.id
LIMIT @batch::integer
FOR NO KEY UPDATE OF w;

-- name: EventsBehind :many
-- The events after the position of each of these webhooks, at most a page for each.
SELECT w.webhook_id::uuid AS webhook_id, e.seq, e.action
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@webhook_ids::uuid[]) AS webhook_id, unnest(@place_seqs::bigint[]) AS place_seq) AS w
CROSS JOIN LATERAL (
    SELECT a.seq, a.action FROM audit_events a
    WHERE a.tenant_id = w.tenant_id AND a.seq > w.place_seq
    ORDER BY a.seq
    LIMIT @page_size::integer
) AS e
ORDER BY w.webhook_id, e.seq;

-- name: LockWebhooksOfAll :many
SELECT tenant_id, id, actions, place_xid, place_tenant_id, place_seq
FROM webhooks
WHERE of_all AND status = 'active'
ORDER BY id
FOR NO KEY UPDATE;

-- name: EventsOfAllBehind :many
-- In the order of FeedOfAll, with the same meaning of settled.
SELECT e.tenant_id, e.seq, e.action, e.feed_xid, (e.feed_xid < pg_snapshot_xmin(pg_current_snapshot()))::boolean AS settled
FROM audit_events e
WHERE (e.feed_xid, e.tenant_id, e.seq) > (@place_xid::xid8, @place_tenant_id::uuid, @place_seq::bigint)
ORDER BY e.feed_xid, e.tenant_id, e.seq
LIMIT @page_size::integer;

-- name: InsertWebhookDeliveries :exec
INSERT INTO webhook_deliveries (tenant_id, webhook_id, id, of_all, event_tenant_id, event_seq, action, asked_at, due_at, created_at)
SELECT unnest(@tenant_ids::uuid[]), unnest(@webhook_ids::uuid[]), unnest(@ids::uuid[]), @of_all::boolean, unnest(@event_tenant_ids::uuid[]),
    unnest(@event_seqs::bigint[]), unnest(@actions::text[]), @created_at::timestamptz, @created_at::timestamptz, @created_at::timestamptz;

-- name: MoveWebhooks :execrows
-- Moves the positions of webhooks.
UPDATE webhooks
SET place_seq = m.place_seq, due_at = CASE WHEN m.told THEN LEAST(webhooks.due_at, @now::timestamptz) ELSE webhooks.due_at END,
    ended_at = CASE WHEN m.ended THEN @now::timestamptz END
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@ids::uuid[]) AS id, unnest(@old_seqs::bigint[]) AS old_seq,
             unnest(@seqs::bigint[]) AS place_seq, unnest(@told::boolean[]) AS told, unnest(@ended::boolean[]) AS ended) AS m
WHERE webhooks.tenant_id = m.tenant_id AND webhooks.id = m.id AND webhooks.place_seq = m.old_seq;

-- name: MoveWebhookOfAll :execrows
UPDATE webhooks
SET place_xid = @place_xid, place_tenant_id = @place_tenant_id, place_seq = @place_seq,
    due_at = CASE WHEN @told::boolean THEN LEAST(due_at, @now::timestamptz) ELSE due_at END
WHERE tenant_id = @tenant_id AND id = @id;

-- name: ClaimWebhooks :many
-- Leases webhooks with deliveries due. Tenants take turns: a tenant's second webhook comes after the first ones of all tenants, and within
-- a turn the webhook that has waited longest comes first. Tenants in busy_tenants have busy_counts requests in progress already, and no
-- tenant gets more than tenant_share. slow_ids are claimed if slow_lane is true, all others if it is false. No array may be NULL. The limit
-- bounds the cost; it covers ten tenants or more, because a tenant has at most 20 webhooks.
WITH waiting AS (
    SELECT w.tenant_id, w.id, GREATEST(w.due_at, w.leased_until) AS ready_at
    FROM webhooks w
    WHERE w.due_at IS NOT NULL AND GREATEST(w.due_at, w.leased_until) <= @now::timestamptz
      AND w.tenant_id <> ALL (@full_tenants::uuid[]) AND (w.id = ANY (@slow_ids::uuid[])) = @slow_lane::boolean
    ORDER BY GREATEST(w.due_at, w.leased_until)
    LIMIT 200
), ranked AS (
    SELECT p.tenant_id, p.id, p.ready_at, COALESCE(b.n, 0) + row_number() OVER (PARTITION BY p.tenant_id ORDER BY p.ready_at, p.id) AS turn
    FROM waiting p
    LEFT JOIN (SELECT unnest(@busy_tenants::uuid[]) AS tenant_id, unnest(@busy_counts::integer[]) AS n) AS b ON b.tenant_id = p.tenant_id
), ready AS (
    SELECT w.tenant_id, w.id
    FROM ranked r
    JOIN webhooks w ON w.tenant_id = r.tenant_id AND w.id = r.id
    WHERE r.turn <= @tenant_share::integer AND w.due_at IS NOT NULL AND GREATEST(w.due_at, w.leased_until) <= @now::timestamptz
    ORDER BY r.turn, r.ready_at
    LIMIT @batch::integer
    FOR NO KEY UPDATE OF w SKIP LOCKED
)
UPDATE webhooks
SET leased_until = @leased_until::timestamptz
FROM ready
WHERE webhooks.tenant_id = ready.tenant_id AND webhooks.id = ready.id
RETURNING webhooks.tenant_id, webhooks.id, webhooks.of_all, webhooks.url, webhooks.format, webhooks.failures, webhooks.failing_since;

-- name: DueDeliveries :many
SELECT id, event_tenant_id, event_seq, attempts, asked_at
FROM webhook_deliveries
WHERE tenant_id = @tenant_id AND webhook_id = @webhook_id AND status = 'pending' AND due_at <= @now::timestamptz
ORDER BY due_at, id
LIMIT @batch::integer;

-- name: RenewWebhook :execrows
-- Records the result of an attempt, if the caller still holds the lease.
UPDATE webhooks
SET leased_until = @new_lease::timestamptz, failures = @failures, failing_since = sqlc.narg(failing_since),
    last_delivery_at = COALESCE(sqlc.narg(last_delivery_at), last_delivery_at)
WHERE tenant_id = @tenant_id AND id = @id AND status = 'active' AND leased_until = @old_lease::timestamptz;

-- name: RecordAttempt :execrows
UPDATE webhook_deliveries
SET status = @status, attempts = attempts + 1, due_at = sqlc.narg(due_at), last_attempt_at = @last_attempt_at,
    last_status = sqlc.narg(last_status), last_error = sqlc.narg(last_error),
    delivered_at = COALESCE(sqlc.narg(delivered_at), delivered_at)
WHERE tenant_id = @tenant_id AND webhook_id = @webhook_id AND id = @id AND status = 'pending';

-- name: ExpireDeliveries :exec
-- Fails deliveries that were due for too long while the receiver could not be reached.
UPDATE webhook_deliveries
SET status = 'failed', due_at = NULL, last_error = COALESCE(last_error, 'not_tried')
WHERE tenant_id = @tenant_id AND webhook_id = @webhook_id AND status = 'pending' AND asked_at < @before::timestamptz;

-- name: ReleaseWebhook :execrows
-- Ends a lease. The webhook is not claimed before ready_at, and after all that are ready before. Its row is locked: no delivery is added
-- meanwhile.
UPDATE webhooks
SET leased_until = @ready_at::timestamptz,
    due_at = (SELECT min(d.due_at) FROM webhook_deliveries d WHERE d.tenant_id = @tenant_id AND d.webhook_id = @id AND d.status = 'pending')
WHERE tenant_id = @tenant_id AND id = @id AND status = 'active' AND leased_until = @old_lease::timestamptz;

-- name: NextWebhookReady :one
-- When ClaimWebhooks with the same arguments would find a webhook.
SELECT GREATEST(w.due_at, w.leased_until)::timestamptz AS ready_at
FROM webhooks w
WHERE w.due_at IS NOT NULL AND w.tenant_id <> ALL (@full_tenants::uuid[]) AND (w.id = ANY (@slow_ids::uuid[])) = @slow_lane::boolean
ORDER BY GREATEST(w.due_at, w.leased_until)
LIMIT 1;

-- name: CountPendingDeliveries :one
-- Counted up to a limit.
SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries WHERE status = 'pending' LIMIT 10000) AS pending;

-- name: ForgetDeliveries :execrows
-- Deletes old deliveries with any status, and deliveries of deleted webhooks.
DELETE FROM webhook_deliveries
WHERE (tenant_id, webhook_id, id) IN (
    SELECT d.tenant_id, d.webhook_id, d.id FROM webhook_deliveries d WHERE d.created_at < @before::timestamptz
    UNION ALL
    SELECT d.tenant_id, d.webhook_id, d.id FROM webhooks w
    JOIN webhook_deliveries d ON d.tenant_id = w.tenant_id AND d.webhook_id = w.id
    WHERE w.status = 'deleted'
    LIMIT @batch::integer);

-- name: ForgetWebhooks :execrows
-- Deletes webhooks that are deleted or whose tenant is, once they have no deliveries.
DELETE FROM webhooks w
WHERE (w.status = 'deleted' OR w.ended_at < @before::timestamptz)
  AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.id);
