-- name: RecordJWKSClients :exec
-- In the order of the primary key, as two processes may record the same verifier.
INSERT INTO jwks_clients (tenant_id, client, set_at, seen_at)
SELECT tenant_id, client, set_at, seen_at
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@clients::bigint[]) AS client,
             unnest(@set_ats::timestamptz[]) AS set_at, unnest(@seen_ats::timestamptz[]) AS seen_at) AS seen
ORDER BY tenant_id, client
ON CONFLICT (tenant_id, client) DO UPDATE
SET set_at = CASE WHEN excluded.seen_at >= jwks_clients.seen_at THEN excluded.set_at ELSE jwks_clients.set_at END,
    seen_at = GREATEST(excluded.seen_at, jwks_clients.seen_at);

-- name: ForgetEarlierClients :exec
-- The pseudonyms of earlier days of verifiers that were seen today.
DELETE FROM jwks_clients
USING (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@clients::bigint[]) AS client) AS m
WHERE jwks_clients.tenant_id = m.tenant_id AND jwks_clients.client = m.client;

-- name: TrimJWKSClients :exec
-- Keeps the sample of each of the tenants within its size.
DELETE FROM jwks_clients
USING (SELECT tenant_id, client, row_number() OVER (PARTITION BY tenant_id ORDER BY client) AS place
       FROM jwks_clients WHERE tenant_id = ANY (@tenant_ids::uuid[])) AS sampled
WHERE sampled.place > @most::integer AND jwks_clients.tenant_id = sampled.tenant_id AND jwks_clients.client = sampled.client;

-- name: ForgetJWKSClients :execrows
DELETE FROM jwks_clients WHERE seen_at < @before;

-- name: ListJWKSClients :many
SELECT client, set_at, seen_at FROM jwks_clients WHERE tenant_id = @tenant_id AND seen_at >= @since ORDER BY client LIMIT @most;

-- name: AdoptionOfStandbys :many
-- Of the standby keys whose policies ask for it: how many verifiers of the sample there are, how many have fetched a set with the key, which
-- have not (those seen last), and whether the tenant's history says already that a rotation waits for them.
SELECT k.tenant_id, k.alg, k.kid, count(*) AS fetchers, count(*) FILTER (WHERE c.set_at >= k.published_at) AS adopted,
    COALESCE((array_agg(c.client ORDER BY c.seen_at DESC, c.client) FILTER (WHERE c.set_at < k.published_at))[1:@most::integer], '{}')::bigint[] AS stragglers,
    (EXISTS (SELECT 1 FROM audit_events e WHERE e.tenant_id = k.tenant_id AND e.seq <= 256 AND e.kid = k.kid AND e.action = 'policy.waiting')
     OR EXISTS (SELECT 1 FROM audit_events e WHERE e.tenant_id = k.tenant_id AND e.seq > 256 AND e.kid = k.kid AND e.action = 'policy.waiting'))::boolean AS told
FROM policies p
JOIN keys k ON k.tenant_id = p.tenant_id AND k.alg = p.alg AND k.state = 'standby'
JOIN jwks_clients c ON c.tenant_id = p.tenant_id AND c.seen_at >= @since
WHERE p.tenant_id = ANY (@tenant_ids::uuid[]) AND p.min_adoption > 0 AND p.retired_at IS NULL
GROUP BY k.tenant_id, k.alg, k.kid;

-- name: AdoptionOfKeys :many
-- Of keys that tenants published at a time: how many verifiers of the sample there are, how many have fetched a set with the key, and the
-- largest pseudonym, from which the number of verifiers is estimated.
SELECT m.tenant_id::uuid AS tenant_id, m.kid::text AS kid, count(*) AS sampled, count(*) FILTER (WHERE c.set_at >= m.published_at) AS adopted, max(c.client)::bigint AS largest
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@published_ats::timestamptz[]) AS published_at) AS m
JOIN jwks_clients c ON c.tenant_id = m.tenant_id AND c.seen_at >= @since
GROUP BY m.tenant_id, m.kid;
