-- name: LeaseAge :one
-- Seconds since a lease was acquired or renewed, by the database's clock.
SELECT EXTRACT(EPOCH FROM clock_timestamp() - renewed_at)::double precision AS seconds FROM leases WHERE name = @name;

-- name: OldestDuePolicy :one
-- The due time of the policy that is overdue longest; now if there is none.
SELECT COALESCE((SELECT min(due_at) FROM policies WHERE due_at <= @now::timestamptz), @now::timestamptz)::timestamptz AS due_at;

-- name: OldestWaitingEvent :one
-- The time of the oldest event after the position of a webhook, which has become no delivery yet; now if there is none. The cost is by the
-- number of webhooks.
SELECT COALESCE(LEAST(
    (SELECT min(e.at)
     FROM webhooks w
     JOIN tenants t ON t.id = w.tenant_id
     JOIN audit_events e ON e.tenant_id = w.tenant_id AND e.seq = w.place_seq + 1
     WHERE NOT w.of_all AND w.status = 'active' AND w.ended_at IS NULL AND t.audit_seq > w.place_seq),
    (SELECT min(next.at)
     FROM webhooks w
     CROSS JOIN LATERAL (
         SELECT e.at FROM audit_events e
         WHERE (e.feed_xid, e.tenant_id, e.seq) > (w.place_xid, w.place_tenant_id, w.place_seq)
         ORDER BY e.feed_xid, e.tenant_id, e.seq
         LIMIT 1
     ) AS next
     WHERE w.of_all AND w.status = 'active')
), @now::timestamptz)::timestamptz AS at;

-- name: OldestPendingDelivery :one
-- When the oldest of the pending deliveries, at most 10,000 of them, was asked for; now if there is none.
SELECT COALESCE(min(asked_at), @now::timestamptz)::timestamptz AS asked_at
FROM (SELECT asked_at FROM webhook_deliveries WHERE status = 'pending' LIMIT 10000) AS pending;

-- name: CountKeysByState :many
-- The keys of a range of tenants.
SELECT state, alg, count(*) AS n
FROM keys
WHERE tenant_id > @after_tenant_id::uuid AND tenant_id <= @until_tenant_id::uuid
GROUP BY state, alg;

-- name: CountPoliciesWithoutStandby :one
-- The live policies of a range of tenants that have no standby key.
SELECT count(*)
FROM policies p
JOIN tenants t ON t.id = p.tenant_id AND t.status <> 'deleted'
WHERE p.retired_at IS NULL AND p.tenant_id > @after_tenant_id::uuid AND p.tenant_id <= @until_tenant_id::uuid
  AND NOT EXISTS (SELECT 1 FROM keys k WHERE k.tenant_id = p.tenant_id AND k.alg = p.alg AND k.state = 'standby');

-- name: CountBacklogs :one
-- The policies that are due and the webhook deliveries that are pending, of each at most so many.
SELECT (SELECT count(*) FROM (SELECT 1 FROM policies WHERE due_at <= @now::timestamptz LIMIT @most::integer) AS due)::bigint AS due,
    (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries WHERE status = 'pending' LIMIT @most::integer) AS pending)::bigint AS deliveries;
