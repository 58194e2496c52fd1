-- name: InsertTenant :exec
INSERT INTO tenants (id, slug, name, issuer, issuer_name, custom_domain, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, audit_seq, audit_hash, audit_at, created_at, updated_at,
    freeze_starts, freeze_ends, freeze_reasons, feed_xid, approval_required, metadata, jwks_path, jwks_headers, jwks, jwks_outline, jwks_xid, mac, search_text)
VALUES (@id, @slug, @name, sqlc.narg(issuer), sqlc.narg(issuer_name), sqlc.narg(custom_domain), @jwks_max_age_seconds, @jwks_stale_while_revalidate_seconds,
    @jwks_stale_if_error_seconds, @clock_skew_seconds, @audit_seq, @audit_hash, @audit_at, @created_at, @created_at,
    COALESCE(@freeze_starts::timestamptz[], '{}'), COALESCE(@freeze_ends::timestamptz[], '{}'), COALESCE(@freeze_reasons::text[], '{}'), pg_current_xact_id(),
    COALESCE(@approval_required::text[], '{}'), sqlc.narg(metadata), sqlc.narg(jwks_path), sqlc.narg(jwks_headers), sqlc.narg(jwks), sqlc.narg(jwks_outline), pg_current_xact_id(), @mac, sqlc.narg(search_text));

-- name: GetTenant :one
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = @tenant_id;

-- name: LiveTenantID :one
-- The id of the live tenant with a slug.
SELECT id FROM tenants WHERE slug = @slug AND status <> 'deleted';

-- name: LockTenant :one
-- Locks a tenant. Every change of a tenant does so first.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = @tenant_id
FOR NO KEY UPDATE;

-- name: LockIdleTenants :many
-- Locks a batch of tenants in one order, and skips tenants that another transaction has locked.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (@tenant_ids::uuid[])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED;

-- name: GetTenants :many
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (@tenant_ids::uuid[]);

-- name: ListTenants :many
-- Live tenants or tenants with a status, newest first, after the cursor. Each list has an index in its order.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    (SELECT id FROM tenants
    WHERE @status::text = '' AND status <> 'deleted' AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
    ORDER BY created_at DESC, id DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT id FROM tenants
    WHERE status = @status::text AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
    ORDER BY created_at DESC, id DESC LIMIT @page_size::integer)))
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: TenantsByAlgorithm :many
-- Tenants with a live policy of an algorithm, newest first: ids begin with the time. Policies are looked at down to the tenant until_id. The tenants are live
-- or have the status, and their slug or name contains the text.
-- Rows are compared, and not algorithms alone, so that only the index of algorithms has the order: the primary key would read every policy to find none.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT tenant_id FROM policies
    WHERE (policies.alg, tenant_id) >= (@alg::text, @until_id::uuid) AND (policies.alg, tenant_id) < (@alg::text, @before_id::uuid) AND retired_at IS NULL
      AND (SELECT (@status::text = '' AND t.status <> 'deleted' OR t.status = @status::text)
      AND (@q::text = '' OR strpos(COALESCE(t.search_text, lower(t.slug || ' ' || t.name)), @q::text) > 0)
      FROM tenants t WHERE t.id = policies.tenant_id)
    ORDER BY policies.alg DESC, tenant_id DESC LIMIT @page_size::integer))
ORDER BY id DESC;

-- name: NthByAlgorithm :one
-- The tenant of the nth policy that TenantsByAlgorithm looks at.
SELECT created_at, id FROM tenants
WHERE id = (SELECT tenant_id FROM policies
    WHERE policies.alg >= @alg::text AND (policies.alg, tenant_id) < (@alg::text, @before_id::uuid) AND retired_at IS NULL
    ORDER BY policies.alg DESC, tenant_id DESC OFFSET @skip::integer LIMIT 1);

-- name: TenantsWithOldAlgorithms :many
-- Tenants with a live policy that makes RSA keys of less than 3072 bits, which is the condition of the index policies_old_rsa, newest first: ids begin with the
-- time. Policies are looked at down to the tenant until_id. Status and text as in TenantsByAlgorithm.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT tenant_id FROM policies
    WHERE retired_at IS NULL AND rsa_bits < 3072 AND tenant_id >= @until_id::uuid AND tenant_id < @before_id::uuid AND (@alg::text = '' OR alg = @alg::text)
      AND (SELECT (@status::text = '' AND t.status <> 'deleted' OR t.status = @status::text)
      AND (@q::text = '' OR strpos(COALESCE(t.search_text, lower(t.slug || ' ' || t.name)), @q::text) > 0)
      FROM tenants t WHERE t.id = policies.tenant_id)
    GROUP BY tenant_id ORDER BY tenant_id DESC LIMIT @page_size::integer))
ORDER BY id DESC;

-- name: NthWithOldAlgorithm :one
-- The tenant of the nth policy that TenantsWithOldAlgorithms looks at.
SELECT created_at, id FROM tenants
WHERE id = (SELECT tenant_id FROM policies WHERE retired_at IS NULL AND rsa_bits < 3072 AND tenant_id < @before_id::uuid
    ORDER BY tenant_id DESC OFFSET @skip::integer LIMIT 1);

-- name: TenantsWithDuePolicies :many
-- Tenants among those of the 10,000 policies that have been due longest, newest first: ids begin with the time. Of no_standby only those
-- whose policy has no standby key, which makes it due. Status and text as in TenantsByAlgorithm. The policies are sorted before anything else is asked of them, so
-- that a full page asks it of few. Subqueries of one value keep PostgreSQL from reading all tenants or all standby keys instead.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT due.tenant_id
    FROM (SELECT tenant_id, alg FROM (SELECT tenant_id, alg FROM policies WHERE due_at <= @due_before::timestamptz ORDER BY due_at LIMIT 10000) AS longest
        WHERE tenant_id < @before_id::uuid AND (@alg::text = '' OR alg = @alg::text)
        ORDER BY tenant_id DESC OFFSET 0) AS due
    WHERE (NOT @no_standby::boolean OR (SELECT k.alg FROM keys k WHERE k.tenant_id = due.tenant_id AND k.alg = due.alg AND k.state = 'standby' LIMIT 1) IS NULL)
      AND (SELECT (@status::text = '' AND t.status <> 'deleted' OR t.status = @status::text)
      AND (@q::text = '' OR strpos(COALESCE(t.search_text, lower(t.slug || ' ' || t.name)), @q::text) > 0)
      FROM tenants t WHERE t.id = due.tenant_id)
      AND (SELECT p.retired_at IS NULL FROM policies p WHERE p.tenant_id = due.tenant_id AND p.alg = due.alg)
    GROUP BY due.tenant_id ORDER BY due.tenant_id DESC LIMIT @page_size::integer))
ORDER BY id DESC;

-- name: TenantsWithLargeSets :many
-- Tenants with more than 12 published keys, which is the condition of the index tenants_large_set, newest first: ids begin with the time. Sets are looked at down to the tenant until_id. Status and text as
-- in TenantsByAlgorithm.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT id FROM tenants
    WHERE status <> 'deleted' AND length(jwks_outline) - length(replace(jwks_outline, chr(10) || 'key ', chr(10) || 'key')) > 12
      AND id >= @until_id::uuid AND id < @before_id::uuid AND (@status::text = '' OR status = @status::text)
      AND (@q::text = '' OR strpos(COALESCE(search_text, lower(slug || ' ' || name)), @q::text) > 0)
      AND (@alg::text = '' OR (SELECT p.alg FROM policies p WHERE p.tenant_id = tenants.id AND p.alg = @alg::text AND p.retired_at IS NULL) IS NOT NULL)
    ORDER BY id DESC LIMIT @page_size::integer))
ORDER BY id DESC;

-- name: NthWithLargeSet :one
-- The nth tenant that TenantsWithLargeSets looks at.
SELECT created_at, id FROM tenants
WHERE status <> 'deleted' AND length(jwks_outline) - length(replace(jwks_outline, chr(10) || 'key ', chr(10) || 'key')) > 12 AND id < @before_id::uuid
ORDER BY id DESC OFFSET @skip::integer LIMIT 1;

-- name: TenantsWithVerifiersBehind :many
-- Tenants with a verifier that has not fetched a standby key whose publish lead is over, newest first: ids begin with the time. Those are looked at that
-- keep asking with an old set, 4,000 at a time, and the 4,000 that have been away longest. Status and text as in TenantsByAlgorithm. OFFSET 0 has
-- tenants looked at only if they are behind.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT behind.tenant_id
    FROM (SELECT seen.tenant_id
        FROM (SELECT tenant_id, min(set_at) AS set_at FROM (
              (SELECT tenant_id, set_at FROM jwks_clients WHERE set_at = timestamptz '1970-01-01 00:00:00+00' AND seen_at >= @since::timestamptz AND tenant_id < @before_id::uuid
               ORDER BY tenant_id DESC LIMIT 4000)
              UNION ALL
              (SELECT tenant_id, set_at FROM jwks_clients WHERE seen_at >= @since::timestamptz ORDER BY seen_at LIMIT 4000)) AS looked_at
            WHERE tenant_id < @before_id::uuid GROUP BY tenant_id) AS seen
        WHERE (SELECT k.kid FROM keys k
              WHERE k.tenant_id = seen.tenant_id AND k.state = 'standby' AND k.published_at > seen.set_at AND (@alg::text = '' OR k.alg = @alg::text)
                AND (SELECT k.published_at + p.publish_lead_seconds * interval '1 second' FROM policies p WHERE p.tenant_id = k.tenant_id AND p.alg = k.alg) < @now::timestamptz
              LIMIT 1) IS NOT NULL OFFSET 0) AS behind
    WHERE (SELECT (@status::text = '' AND t.status <> 'deleted' OR t.status = @status::text)
      AND (@q::text = '' OR strpos(COALESCE(t.search_text, lower(t.slug || ' ' || t.name)), @q::text) > 0)
      FROM tenants t WHERE t.id = behind.tenant_id)
    ORDER BY behind.tenant_id DESC LIMIT @page_size::integer))
ORDER BY id DESC;

-- name: MatchTenants :many
-- Tenants from the cursor down to another one, newest first, whose slug or name contains a text, given with its case folded, and which have a live policy of one
-- of the algorithms, if there are any. It reads every tenant of that stretch until its page is full.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    (SELECT id FROM tenants
    WHERE @status::text = '' AND status <> 'deleted' AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid) AND (created_at, id) >= (@until_created_at::timestamptz, @until_id::uuid)
      AND strpos(COALESCE(search_text, lower(slug || ' ' || name)), @q::text) > 0
      AND (COALESCE(cardinality(@algs::text[]), 0) = 0 OR (SELECT p.alg FROM policies p WHERE p.tenant_id = tenants.id AND p.alg = ANY (@algs::text[])
        AND COALESCE(p.rsa_bits, 0) < @below_bits::integer AND p.retired_at IS NULL LIMIT 1) IS NOT NULL)
    ORDER BY created_at DESC, id DESC LIMIT @page_size::integer)
    UNION ALL
    (SELECT id FROM tenants
    WHERE status = @status::text AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid) AND (created_at, id) >= (@until_created_at::timestamptz, @until_id::uuid)
      AND strpos(COALESCE(search_text, lower(slug || ' ' || name)), @q::text) > 0
      AND (COALESCE(cardinality(@algs::text[]), 0) = 0 OR (SELECT p.alg FROM policies p WHERE p.tenant_id = tenants.id AND p.alg = ANY (@algs::text[])
        AND COALESCE(p.rsa_bits, 0) < @below_bits::integer AND p.retired_at IS NULL LIMIT 1) IS NOT NULL)
    ORDER BY created_at DESC, id DESC LIMIT @page_size::integer)))
ORDER BY created_at DESC, id DESC;

-- name: NthTenant :one
-- The nth tenant after the cursor.
SELECT created_at, id FROM (
    (SELECT created_at, id FROM tenants
    WHERE @status::text = '' AND status <> 'deleted' AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
    ORDER BY created_at DESC, id DESC OFFSET @skip::integer LIMIT 1)
    UNION ALL
    (SELECT created_at, id FROM tenants
    WHERE status = @status::text AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
    ORDER BY created_at DESC, id DESC OFFSET @skip::integer LIMIT 1)) AS nth;

-- name: SamplePieces :one
-- In how many pages of a sample of the table, which is the same until the table grows, tenants have all of some pieces of text. The sample has about 1,200 tenants, in at
-- most 400 pages. Pages are counted because tenants that were made together are often named alike: of those, one page would have many.
SELECT count(DISTINCT split_part(ctid::text, ',', 1)) AS pages
FROM tenants TABLESAMPLE SYSTEM ((SELECT 100 * LEAST(1, 1200 / GREATEST(reltuples, 1), 400.0 / GREATEST(1, pg_relation_size(oid) / 8192)) FROM pg_catalog.pg_class WHERE oid = 'public.tenants'::regclass)) REPEATABLE (0)
WHERE NOT EXISTS (SELECT FROM unnest(@pieces::text[]) AS piece WHERE strpos(COALESCE(search_text, lower(slug || ' ' || name)), piece) = 0);

-- name: FindTenants :many
-- MatchTenants among all tenants, by the trigram index: for rare texts. Without OFFSET 0 PostgreSQL could expect many matches and
-- read all tenants in order.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT id FROM (
        SELECT id, created_at FROM tenants
        WHERE keyward_pieces(COALESCE(search_text, lower(slug || ' ' || name))) @@ keyward_pieces_of(@q::text)
          AND strpos(COALESCE(search_text, lower(slug || ' ' || name)), @q::text) > 0
          AND (@status::text = '' AND status <> 'deleted' OR status = @status::text)
          AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
          AND (COALESCE(cardinality(@algs::text[]), 0) = 0 OR (SELECT p.alg FROM policies p WHERE p.tenant_id = tenants.id AND p.alg = ANY (@algs::text[])
            AND COALESCE(p.rsa_bits, 0) < @below_bits::integer AND p.retired_at IS NULL LIMIT 1) IS NOT NULL)
        OFFSET 0) AS found
    ORDER BY created_at DESC, id DESC
    LIMIT @page_size::integer))
ORDER BY created_at DESC, id DESC;

-- name: UpdateTenant :execrows
-- NULL keeps issuer_name as long as there is an issuer; NULL keeps freeze windows, approval_required and the rendered JWK Set; an empty array removes the first two. A set that was up to
-- date stays so.
UPDATE tenants
SET name = @name, search_text = sqlc.narg(search_text), issuer = sqlc.narg(issuer),
    issuer_name = CASE WHEN sqlc.narg(issuer)::text IS NOT NULL THEN COALESCE(sqlc.narg(issuer_name), issuer_name) END, custom_domain = sqlc.narg(custom_domain), status = @status,
    jwks_max_age_seconds = @jwks_max_age_seconds, jwks_stale_while_revalidate_seconds = @jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds = @jwks_stale_if_error_seconds, clock_skew_seconds = @clock_skew_seconds,
    cache_horizon = sqlc.narg(cache_horizon), not_before = sqlc.narg(not_before), updated_at = @updated_at,
    freeze_starts = COALESCE(@freeze_starts::timestamptz[], freeze_starts), freeze_ends = COALESCE(@freeze_ends::timestamptz[], freeze_ends),
    freeze_reasons = COALESCE(@freeze_reasons::text[], freeze_reasons),
    approval_required = COALESCE(@approval_required::text[], approval_required), metadata = sqlc.narg(metadata), mac = @mac,
    jwks_path = sqlc.narg(jwks_path), jwks_headers = sqlc.narg(jwks_headers),
    deleted_at = sqlc.narg(deleted_at), audit_seq = @audit_seq, audit_hash = @audit_hash, audit_at = @audit_at, feed_xid = pg_current_xact_id(),
    jwks = COALESCE(sqlc.narg(jwks), jwks), jwks_outline = COALESCE(sqlc.narg(jwks_outline), jwks_outline),
    jwks_xid = CASE WHEN sqlc.narg(jwks)::bytea IS NOT NULL OR jwks_xid = feed_xid THEN pg_current_xact_id() ELSE jwks_xid END
WHERE id = @tenant_id;

-- name: MoveAuditHeads :execrows
-- Moves the heads of audit chains; a head moved by another transaction is not matched. visible means that public data changed: then
-- feed_xid moves too, and the rendered JWK Set is written with it. A set that is NULL stays, and is out of date after such a change.
-- The arrays are NULL if no tenant has a set.
UPDATE tenants
SET audit_seq = m.seq, audit_hash = m.hash, audit_at = m.at, feed_xid = CASE WHEN @visible::boolean THEN pg_current_xact_id() ELSE feed_xid END,
    jwks = COALESCE(m.jwks, tenants.jwks), jwks_outline = CASE WHEN m.jwks IS NULL THEN tenants.jwks_outline ELSE m.outline END,
    jwks_xid = CASE WHEN m.jwks IS NULL THEN jwks_xid ELSE pg_current_xact_id() END
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@old_seqs::bigint[]) AS old_seq,
             unnest(@seqs::bigint[]) AS seq, unnest(@hashes::bytea[]) AS hash, unnest(@ats::timestamptz[]) AS at,
             unnest(sqlc.narg(jwks)::bytea[]) AS jwks, unnest(sqlc.narg(outlines)::text[]) AS outline) AS m
WHERE tenants.id = m.tenant_id AND tenants.audit_seq = m.old_seq;

-- name: TenantVersions :many
SELECT id, audit_seq, status FROM tenants WHERE id = ANY (@tenant_ids::uuid[]);

-- name: ShareTenant :exec
-- Keeps the tenant from changing until the transaction ends; others may do the same.
SELECT id FROM tenants WHERE id = @tenant_id FOR SHARE;
