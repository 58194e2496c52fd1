-- name: Fleet :many
-- Tenants in the order of the last change of their public data, with their JWK Sets in this snapshot. A tenant is settled if no later
-- change can sort before it. Settled tenants precede the others.
SELECT t.id, t.slug, t.issuer, t.status, t.not_before, t.audit_seq, t.feed_xid,
    (t.feed_xid < pg_snapshot_xmin(pg_current_snapshot()))::boolean AS settled,
    -- A key for several algorithms has a JWK for each (keys.Key.PublicJWKs).
    (SELECT COALESCE(string_agg(CASE WHEN k.algs IS NULL THEN k.public_jwk::text
            ELSE replace(k.public_jwk::text, '"use":"sig","alg":"' || k.alg || '"', '"use":"sig","alg":"' || a.alg || '"') END,
        ',' ORDER BY array_position(ARRAY ['active', 'standby', 'deprecated'], k.state), k.created_at DESC, k.kid DESC, a.place), '')
     FROM keys k, unnest(COALESCE(k.algs, ARRAY [k.alg])) WITH ORDINALITY AS a (alg, place)
     WHERE k.tenant_id = t.id AND k.state IN ('active', 'standby', 'deprecated'))::text AS jwks
FROM tenants t
WHERE (t.feed_xid, t.id) > (@after_xid::xid8, @after_id::uuid)
ORDER BY t.feed_xid, t.id
LIMIT @page_size::integer;
