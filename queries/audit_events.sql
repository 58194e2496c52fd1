-- name: InsertAuditEvents :exec
-- In the order of the arrays, so that each event finds the one it continues. Empty texts stand for NULL.
INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, from_state, to_state, reason, request_id,
    details, prev_hash, hash)
SELECT unnest(@tenant_ids::uuid[]), unnest(@seqs::bigint[]), unnest(@ats::timestamptz[]), unnest(@actions::text[]),
    unnest(@actor_types::text[]), unnest(@actor_ids::text[]), unnest(@actor_names::text[]), NULLIF(unnest(@kids::text[]), ''),
    NULLIF(unnest(@from_states::text[]), ''), NULLIF(unnest(@to_states::text[]), ''), NULLIF(unnest(@reasons::text[]), ''),
    NULLIF(unnest(@request_ids::text[]), ''), unnest(@details::text[])::json, unnest(@prev_hashes::bytea[]), unnest(@hashes::bytea[]);

-- name: PlanForFilters :exec
-- Makes PostgreSQL plan each statement of the transaction for its values: one plan for all filters would use none of their indexes.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: PageAuditEvents :many
-- All events of one tenant, newest first, after the cursor. Each order has its own query, so that an index supports it. So do lists
-- without filters: with the conditions of filters, a generic plan would read a whole history.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE e.tenant_id = @tenant_id AND e.seq < @before_seq::bigint
ORDER BY e.seq DESC
LIMIT @page_size::integer;

-- name: PageAuditEventsAscending :many
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE e.tenant_id = @tenant_id AND e.seq > @after_seq::bigint
ORDER BY e.seq
LIMIT @page_size::integer;

-- name: ListAuditEvents :many
-- The events of one tenant that match the filters, of a stretch of its history on one side of the 256th event: the indexes for filters
-- begin behind it (see the table).
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE e.tenant_id = @tenant_id
  AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint
  AND (@action::text = '' OR e.action = @action::text)
  AND (@kid::text = '' OR e.kid = @kid::text)
  AND (@state::text = '' OR e.to_state = @state::text)
  AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
  AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
ORDER BY e.seq DESC
LIMIT @page_size::integer;

-- name: ListAuditEventsAscending :many
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE e.tenant_id = @tenant_id
  AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint
  AND (@action::text = '' OR e.action = @action::text)
  AND (@kid::text = '' OR e.kid = @kid::text)
  AND (@state::text = '' OR e.to_state = @state::text)
  AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
  AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
ORDER BY e.seq
LIMIT @page_size::integer;

-- name: AuditSeqsBetween :one
-- The first and the last event between two times of those that the indexes for filters have, 0 if there are none. A history's times rise
-- with its seqs, which PostgreSQL does not know: with a time at which only others have many events it would read a whole history.
SELECT COALESCE((SELECT e.seq FROM audit_events e WHERE e.tenant_id = @tenant_id AND e.seq > 256 AND e.at >= @since::timestamptz AND e.at < @until::timestamptz ORDER BY e.at, e.seq LIMIT 1), 0)::bigint AS first_seq,
    COALESCE((SELECT e.seq FROM audit_events e WHERE e.tenant_id = @tenant_id AND e.seq > 256 AND e.at >= @since::timestamptz AND e.at < @until::timestamptz ORDER BY e.at DESC, e.seq DESC LIMIT 1), 0)::bigint AS last_seq;

-- name: ListEarlyAuditEvents :many
-- ListAuditEvents of the stretch before the indexes for filters, at most 256 events. The subquery reads them by the primary key: most tenants
-- have few events, so that PostgreSQL would take them for most of the table and read all of it.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM (
    SELECT early.tenant_id, early.seq, early.at, early.action, early.actor_type, early.actor_id, early.actor_name, early.kid, early.from_state, early.to_state, early.reason,
        early.request_id, early.details, early.prev_hash, early.hash
    FROM audit_events early
    WHERE early.tenant_id = @tenant_id AND early.seq > @after_seq::bigint AND early.seq < @before_seq::bigint
    ORDER BY early.seq LIMIT 256
) AS e
JOIN tenants t ON t.id = e.tenant_id
WHERE (@action::text = '' OR e.action = @action::text)
  AND (@kid::text = '' OR e.kid = @kid::text)
  AND (@state::text = '' OR e.to_state = @state::text)
  AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
  AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
ORDER BY CASE WHEN @ascending::boolean THEN e.seq ELSE -e.seq END
LIMIT @page_size::integer;

-- name: ListAuditEventsByState :many
-- Events by which a key entered a state, by the one or two actions that lead to it: an index has each action in order.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM (
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.action = @first_action::text AND e.to_state = @state::text
      AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.action = @other_action::text AND e.to_state = @state::text
      AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq DESC LIMIT @page_size::integer)
) AS found
JOIN audit_events e ON e.tenant_id = @tenant_id AND e.seq = found.seq
JOIN tenants t ON t.id = e.tenant_id
ORDER BY e.seq DESC
LIMIT @page_size::integer;

-- name: ListAuditEventsByStateAscending :many
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM (
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.action = @first_action::text AND e.to_state = @state::text
      AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.action = @other_action::text AND e.to_state = @state::text
      AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
) AS found
JOIN audit_events e ON e.tenant_id = @tenant_id AND e.seq = found.seq
JOIN tenants t ON t.id = e.tenant_id
ORDER BY e.seq
LIMIT @page_size::integer;

-- name: ListAuditEventsOfActor :many
-- Events of an actor, by id or name. Events of the schedule, most of every history, are in no index by name, and its processes are in
-- a small index without an order: OFFSET 0 makes PostgreSQL find them by this index and then sort.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM (
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.actor_id = @actor::text AND e.actor_name <> 'worker'
      AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.actor_name = @actor::text AND e.actor_name <> 'worker' AND e.actor_id <> @actor::text
      AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT w.seq FROM (
        SELECT e.seq FROM audit_events e
        WHERE e.tenant_id = @tenant_id AND e.actor_id = @actor::text AND e.actor_name = 'worker'
          AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
          AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
        OFFSET 0) AS w
    ORDER BY w.seq DESC LIMIT @page_size::integer)
) AS found
JOIN audit_events e ON e.tenant_id = @tenant_id AND e.seq = found.seq
JOIN tenants t ON t.id = e.tenant_id
ORDER BY e.seq DESC
LIMIT @page_size::integer;

-- name: ListAuditEventsOfActorAscending :many
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM (
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.actor_id = @actor::text AND e.actor_name <> 'worker'
      AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.actor_name = @actor::text AND e.actor_name <> 'worker' AND e.actor_id <> @actor::text
      AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
      AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
    UNION ALL
    (SELECT w.seq FROM (
        SELECT e.seq FROM audit_events e
        WHERE e.tenant_id = @tenant_id AND e.actor_id = @actor::text AND e.actor_name = 'worker'
          AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
          AND e.seq > @after_seq::bigint AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
        OFFSET 0) AS w
    ORDER BY w.seq LIMIT @page_size::integer)
) AS found
JOIN audit_events e ON e.tenant_id = @tenant_id AND e.seq = found.seq
JOIN tenants t ON t.id = e.tenant_id
ORDER BY e.seq
LIMIT @page_size::integer;

-- name: ListAuditEventsOfAll :many
-- Events of every tenant, newest first, after the cursor.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE (e.at, e.tenant_id, e.seq) < (@before_at::timestamptz, @before_tenant_id::uuid, @before_seq::bigint)
  AND (@action::text = '' OR e.action = @action::text)
  AND (@kid::text = '' OR e.kid = @kid::text)
  AND (@state::text = '' OR e.to_state = @state::text)
  AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
  AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
ORDER BY e.at DESC, e.tenant_id DESC, e.seq DESC
LIMIT @page_size::integer;

-- name: ListAuditEventsOfAllAscending :many
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE (e.at, e.tenant_id, e.seq) > (@after_at::timestamptz, @after_tenant_id::uuid, @after_seq::bigint)
  AND (@action::text = '' OR e.action = @action::text)
  AND (@kid::text = '' OR e.kid = @kid::text)
  AND (@state::text = '' OR e.to_state = @state::text)
  AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
  AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
ORDER BY e.at, e.tenant_id, e.seq
LIMIT @page_size::integer;

-- name: AuditChain :many
-- A part of one tenant's chain, to verify it.
SELECT tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, from_state, to_state, reason, request_id, details, prev_hash, hash
FROM audit_events
WHERE tenant_id = @tenant_id AND seq > @after_seq::bigint
ORDER BY seq
LIMIT @page_size::integer;

-- name: FeedOfAll :many
-- Events of every tenant, in an order that keeps the order of each tenant. An event is settled if no later event can sort before it:
-- every transaction up to its own has ended. In this snapshot settled events precede the others.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash, e.feed_xid,
    (e.feed_xid < pg_snapshot_xmin(pg_current_snapshot()))::boolean AS settled
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE (e.feed_xid, e.tenant_id, e.seq) > (@after_xid::xid8, @after_tenant_id::uuid, @after_seq::bigint)
ORDER BY e.feed_xid, e.tenant_id, e.seq
LIMIT @page_size::integer;

-- name: FeedBounds :one
-- Every event below settled is settled; no event has reached unused.
SELECT pg_snapshot_xmin(pg_current_snapshot())::xid8 AS settled, pg_snapshot_xmax(pg_current_snapshot())::xid8 AS unused;

-- name: DeletionEvent :one
-- The event that deletes a tenant. Only purges of its keys follow it.
SELECT e.seq, e.at, e.hash
FROM (
    SELECT b.seq, b.at, b.hash FROM audit_events b WHERE b.tenant_id = @tenant_id AND b.seq <= 256 AND b.action = 'tenant.deleted'
    UNION ALL
    SELECT l.seq, l.at, l.hash FROM audit_events l WHERE l.tenant_id = @tenant_id AND l.seq > 256 AND l.action = 'tenant.deleted'
) AS e
ORDER BY e.seq DESC
LIMIT 1;

-- name: AuditHeadEvent :one
-- The event that a tenant's head names, and the head itself.
SELECT t.slug, t.audit_hash, e.tenant_id, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state,
    e.reason, e.request_id, e.details, e.prev_hash, e.hash
FROM tenants t
JOIN audit_events e ON e.tenant_id = t.id AND e.seq = t.audit_seq
WHERE t.id = @tenant_id;

-- name: ListAuditHeads :many
-- The heads of all tenants' chains, deleted ones too, by id.
SELECT id, slug, audit_seq, audit_hash
FROM tenants
WHERE id > @after_id::uuid
ORDER BY id
LIMIT @page_size::integer;
