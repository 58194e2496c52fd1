-- name: ListRecoveries :many
-- The latest first, also those that are not believed: see Tx.CurrentEpoch.
SELECT epoch, at, operator, mac FROM recoveries ORDER BY epoch DESC;

-- name: InsertRecovery :exec
INSERT INTO recoveries (epoch, at, operator, mac) VALUES (@epoch, @at, @operator, @mac);

-- name: EndConsoleSessions :execrows
-- All of them: which were ended in the time that was lost is unknown.
DELETE FROM console_sessions;

-- name: StoredTransactions :one
-- The latest transaction that a row names, and the next one of the server. A row of the future comes from another server, by a restore.
SELECT GREATEST(
        (SELECT feed_xid FROM audit_events ORDER BY feed_xid DESC LIMIT 1),
        (SELECT feed_xid FROM tenants ORDER BY feed_xid DESC LIMIT 1),
        (SELECT place_xid FROM webhooks ORDER BY place_xid DESC LIMIT 1),
        '0'::xid8)::xid8 AS stored,
    pg_snapshot_xmax(pg_current_snapshot())::xid8 AS unused;

-- name: HeadsAtCheckpoint :many
-- For each end of a history in a checkpoint: the tenant's head now, the hash of the event at that seq, and whether a recovery has
-- dealt with this checkpoint of it.
SELECT m.tenant_id::uuid AS tenant_id, COALESCE(t.status, '')::text AS status, COALESCE(t.audit_seq, 0)::bigint AS head_seq, e.hash,
    (EXISTS (SELECT 1 FROM audit_events r WHERE r.tenant_id = m.tenant_id AND r.seq <= 256 AND r.action = 'tenant.recovered'
        AND r.details ->> 'checkpoint_hash' = m.hash)
     OR EXISTS (SELECT 1 FROM audit_events r WHERE r.tenant_id = m.tenant_id AND r.seq > 256 AND r.action = 'tenant.recovered'
        AND r.details ->> 'checkpoint_hash' = m.hash))::boolean AS recovered
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@seqs::bigint[]) AS seq, unnest(@hashes::text[]) AS hash) AS m
LEFT JOIN tenants t ON t.id = m.tenant_id
LEFT JOIN audit_events e ON e.tenant_id = m.tenant_id AND e.seq = m.seq
ORDER BY m.tenant_id;
