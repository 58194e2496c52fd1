-- name: Fleet :many
-- Tenants in the order in which what verifiers see of them changed last, with their JWKS as they are in this one snapshot. Settled
-- are those that nothing can come to lie before; they precede the others.
SELECT t.id, t.slug, t.issuer, t.status, t.not_before, t.audit_seq, t.feed_xid,
    (t.feed_xid < pg_snapshot_xmin(pg_current_snapshot()))::boolean AS settled,
    (SELECT COALESCE(string_agg(k.public_jwk::text, ',' ORDER BY array_position(ARRAY ['active', 'standby', 'deprecated'], k.state),
        k.created_at DESC, k.kid DESC), '')
     FROM keys k
     WHERE k.tenant_id = t.id AND k.state IN ('active', 'standby', 'deprecated'))::text AS jwks
FROM tenants t
WHERE (t.feed_xid, t.id) > (@after_xid::xid8, @after_id::uuid)
ORDER BY t.feed_xid, t.id
LIMIT @page_size::integer;
