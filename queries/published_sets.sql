-- name: PublicationOf :one
-- A tenant, deleted or not, and what was published of it.
SELECT t.slug, t.status, t.audit_seq, t.feed_xid, COALESCE(p.feed_xid, '0'::xid8)::xid8 AS published_xid, COALESCE(p.epoch, 0)::bigint AS epoch, COALESCE(p.version, -1)::bigint AS version,
    COALESCE(p.failures, 0)::integer AS failures, COALESCE(p.due_at, '9999-01-01Z')::timestamptz AS due_at
FROM tenants t
LEFT JOIN published_sets p ON p.tenant_id = t.id AND p.target = @target
WHERE t.id = @tenant_id;

-- name: RecordPublished :exec
INSERT INTO published_sets (tenant_id, target, epoch, version, feed_xid, published_at, due_at, failures)
VALUES (@tenant_id, @target, @epoch, @version, @feed_xid, @published_at::timestamptz, @due_at, 0)
ON CONFLICT (tenant_id, target) DO UPDATE
SET epoch = excluded.epoch, version = excluded.version, feed_xid = excluded.feed_xid, published_at = excluded.published_at, due_at = excluded.due_at,
    failures = 0, failing_since = NULL, error = NULL
WHERE (published_sets.epoch, published_sets.version) <= (excluded.epoch, excluded.version);

-- name: RecordUnpublished :exec
INSERT INTO published_sets (tenant_id, target, epoch, version, feed_xid, due_at, failures, failing_since, error)
VALUES (@tenant_id, @target, 0, -1, '0'::xid8, @due_at, 1, @failed_at::timestamptz, @error::text)
ON CONFLICT (tenant_id, target) DO UPDATE
SET due_at = excluded.due_at, failures = LEAST(published_sets.failures, 1000000) + 1, error = excluded.error,
    failing_since = COALESCE(published_sets.failing_since, excluded.failing_since);

-- name: ForgetPublished :exec
DELETE FROM published_sets WHERE tenant_id = @tenant_id AND target = @target;

-- name: DuePublications :many
SELECT tenant_id FROM published_sets WHERE target = @target AND due_at <= @now ORDER BY due_at LIMIT @page_size::integer;

-- name: NextPublication :one
-- When the next one is due; the year 9999: none.
SELECT COALESCE(min(due_at), '9999-01-01Z')::timestamptz AS due_at FROM published_sets WHERE target = @target;

-- name: PublishPlace :one
SELECT place, caught_up_at FROM publish_places WHERE target = @target;

-- name: SavePublishPlace :exec
INSERT INTO publish_places (target, place, caught_up_at) VALUES (@target, @place, sqlc.narg(caught_up_at))
ON CONFLICT (target) DO UPDATE SET place = excluded.place, caught_up_at = COALESCE(excluded.caught_up_at, publish_places.caught_up_at);

-- name: UnpublishedTenants :many
-- Tenants whose latest state could not be published, the longest first.
SELECT t.slug, p.failing_since, p.failures, p.error
FROM published_sets p
JOIN tenants t ON t.id = p.tenant_id
WHERE p.target = @target AND p.failures > 0
ORDER BY p.failing_since
LIMIT @page_size::integer;

-- name: CountUnpublished :one
SELECT count(*) FROM (SELECT 1 FROM published_sets WHERE target = @target AND failures > 0 LIMIT 10000) AS failing;
