-- name: InsertAuditEvents :exec
-- In the order of the arrays, so that each event finds the one it continues. Empty texts stand for NULL.
INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, from_state, to_state, reason, request_id,
    details, prev_hash, hash)
SELECT unnest(@tenant_ids::uuid[]), unnest(@seqs::bigint[]), unnest(@ats::timestamptz[]), unnest(@actions::text[]),
    unnest(@actor_types::text[]), unnest(@actor_ids::text[]), unnest(@actor_names::text[]), NULLIF(unnest(@kids::text[]), ''),
    NULLIF(unnest(@from_states::text[]), ''), NULLIF(unnest(@to_states::text[]), ''), NULLIF(unnest(@reasons::text[]), ''),
    NULLIF(unnest(@request_ids::text[]), ''), unnest(@details::text[])::json, unnest(@prev_hashes::bytea[]), unnest(@hashes::bytea[]);

-- name: PlanForFilters :exec
-- Until the transaction ends, statements are planned for the values they come with: one plan for all filters would use none of
-- their indexes.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: PageAuditEvents :many
-- One tenant's, whatever they are, newest first, after the cursor. Each order is a query of its own, so that the index has it; and
-- so are lists without filters, whose conditions would mislead a plan that serves any values into reading a whole history.
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
-- Those of them that are chosen.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE e.tenant_id = @tenant_id
  AND e.seq < @before_seq::bigint
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
  AND e.seq > @after_seq::bigint
  AND (@action::text = '' OR e.action = @action::text)
  AND (@kid::text = '' OR e.kid = @kid::text)
  AND (@state::text = '' OR e.to_state = @state::text)
  AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
  AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
ORDER BY e.seq
LIMIT @page_size::integer;

-- name: ListAuditEventsByState :many
-- Those that brought a key into a state, by the actions that can: an index has each of them in order.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM (
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.action = @first_action::text AND e.to_state = @state::text
      AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
      AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.action = @other_action::text AND e.to_state = @state::text
      AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
      AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
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
      AND e.seq > @after_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.action = @other_action::text AND e.to_state = @state::text
      AND (@actor::text = '' OR e.actor_id = @actor::text OR e.actor_name = @actor::text)
      AND e.seq > @after_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
) AS found
JOIN audit_events e ON e.tenant_id = @tenant_id AND e.seq = found.seq
JOIN tenants t ON t.id = e.tenant_id
ORDER BY e.seq
LIMIT @page_size::integer;

-- name: ListAuditEventsOfActor :many
-- An actor's, by id or name. The schedule, most of every history, is in no index by its name, and its processes are in one that is
-- small and has no order: OFFSET 0 has them found by it and then sorted.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash
FROM (
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.actor_id = @actor::text AND e.actor_name <> 'worker'
      AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
      AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.actor_name = @actor::text AND e.actor_name <> 'worker' AND e.actor_id <> @actor::text
      AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
      AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT w.seq FROM (
        SELECT e.seq FROM audit_events e
        WHERE e.tenant_id = @tenant_id AND e.actor_id = @actor::text AND e.actor_name = 'worker'
          AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
          AND e.seq < @before_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
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
      AND e.seq > @after_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
    UNION ALL
    (SELECT e.seq FROM audit_events e
    WHERE e.tenant_id = @tenant_id AND e.actor_name = @actor::text AND e.actor_name <> 'worker' AND e.actor_id <> @actor::text
      AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
      AND e.seq > @after_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
    ORDER BY e.seq LIMIT @page_size::integer)
    UNION ALL
    (SELECT w.seq FROM (
        SELECT e.seq FROM audit_events e
        WHERE e.tenant_id = @tenant_id AND e.actor_id = @actor::text AND e.actor_name = 'worker'
          AND (@action::text = '' OR e.action = @action::text) AND (@state::text = '' OR e.to_state = @state::text)
          AND e.seq > @after_seq::bigint AND e.at >= @since::timestamptz AND e.at < @until::timestamptz
        OFFSET 0) AS w
    ORDER BY w.seq LIMIT @page_size::integer)
) AS found
JOIN audit_events e ON e.tenant_id = @tenant_id AND e.seq = found.seq
JOIN tenants t ON t.id = e.tenant_id
ORDER BY e.seq
LIMIT @page_size::integer;

-- name: ListAuditEventsOfAll :many
-- Every tenant's, newest first, after the cursor.
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
-- A stretch of one tenant's chain, for checking it.
SELECT tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, from_state, to_state, reason, request_id, details, prev_hash, hash
FROM audit_events
WHERE tenant_id = @tenant_id AND seq > @after_seq::bigint
ORDER BY seq
LIMIT @page_size::integer;

-- name: FeedOfAll :many
-- Every tenant's, in an order in which each tenant's keep their own. Settled are those that nothing can come to lie before: every
-- transaction up to theirs has ended. They precede the others, in this one snapshot.
SELECT e.tenant_id, t.slug, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state, e.reason,
    e.request_id, e.details, e.prev_hash, e.hash, e.feed_xid,
    (e.feed_xid < pg_snapshot_xmin(pg_current_snapshot()))::boolean AS settled
FROM audit_events e
JOIN tenants t ON t.id = e.tenant_id
WHERE (e.feed_xid, e.tenant_id, e.seq) > (@after_xid::xid8, @after_tenant_id::uuid, @after_seq::bigint)
ORDER BY e.feed_xid, e.tenant_id, e.seq
LIMIT @page_size::integer;

-- name: FeedBounds :one
-- Below the first, everything is settled; nothing has reached the second.
SELECT pg_snapshot_xmin(pg_current_snapshot())::xid8 AS settled, pg_snapshot_xmax(pg_current_snapshot())::xid8 AS unused;

-- name: DeletionEvent :one
-- The event that ends a tenant: nothing of its keys happens after it but their being forgotten.
SELECT seq, at, hash
FROM audit_events
WHERE tenant_id = @tenant_id AND action = 'tenant.deleted'
ORDER BY seq DESC
LIMIT 1;

-- name: AuditHeadEvent :one
-- The event that a tenant's head names, and the head itself.
SELECT t.slug, t.audit_hash, e.tenant_id, e.seq, e.at, e.action, e.actor_type, e.actor_id, e.actor_name, e.kid, e.from_state, e.to_state,
    e.reason, e.request_id, e.details, e.prev_hash, e.hash
FROM tenants t
JOIN audit_events e ON e.tenant_id = t.id AND e.seq = t.audit_seq
WHERE t.id = @tenant_id;
