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
-- Live tenants or tenants with a status, of these also those with a live policy of an algorithm, newest first, after the cursor. Each list
-- has an index in its order. The subquery of one value keeps PostgreSQL from reading all policies.
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
      AND (@alg::text = '' OR (SELECT p.alg FROM policies p WHERE p.tenant_id = tenants.id AND p.alg = @alg::text AND p.retired_at IS NULL) IS NOT NULL)
    ORDER BY created_at DESC, id DESC LIMIT @page_size::integer)))
ORDER BY created_at DESC, id DESC
LIMIT @page_size::integer;

-- name: TenantsByAlgorithm :many
-- Live tenants with a live policy of one of the algorithms, whose RSA keys are smaller than a limit, newest first: ids begin with the time.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT p.tenant_id
    FROM unnest(@algs::text[]) AS wanted (alg)
    CROSS JOIN LATERAL (
        SELECT tenant_id FROM policies
        WHERE policies.alg = wanted.alg AND retired_at IS NULL AND tenant_id < @before_id::uuid AND COALESCE(rsa_bits, 0) < @below_bits::integer
          AND (SELECT t.status FROM tenants t WHERE t.id = policies.tenant_id) <> 'deleted'
        ORDER BY tenant_id DESC LIMIT @page_size::integer) AS p
    GROUP BY p.tenant_id ORDER BY p.tenant_id DESC LIMIT @page_size::integer))
ORDER BY id DESC;

-- name: TenantsWithDuePolicies :many
-- Live tenants among those of the 10,000 policies that have been due longest, newest first: ids begin with the time. Of no_standby only those
-- whose policy has no standby key, which makes it due. Subqueries of one value keep PostgreSQL from reading all tenants or all standby keys instead.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT due.tenant_id
    FROM (SELECT tenant_id, alg FROM policies WHERE due_at <= @due_before::timestamptz AND retired_at IS NULL ORDER BY due_at LIMIT 10000) AS due
    WHERE due.tenant_id < @before_id::uuid AND (@alg::text = '' OR due.alg = @alg::text)
      AND (SELECT t.status FROM tenants t WHERE t.id = due.tenant_id) <> 'deleted'
      AND (NOT @no_standby::boolean OR (SELECT k.kid FROM keys k WHERE k.tenant_id = due.tenant_id AND k.alg = due.alg AND k.state = 'standby' LIMIT 1) IS NULL)
    GROUP BY due.tenant_id ORDER BY due.tenant_id DESC LIMIT @page_size::integer))
ORDER BY id DESC;

-- name: MatchNewestTenants :many
-- Tenants among the newest thousand after the cursor whose slug or name contains a text, given with its case folded. A frequent text fills a page this way.
SELECT id, slug, name, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
    jwks_stale_if_error_seconds, clock_skew_seconds, cache_horizon, not_before, audit_seq, audit_hash, audit_at, created_at, updated_at, deleted_at,
    feed_xid, freeze_starts, freeze_ends, freeze_reasons, approval_required, metadata, jwks_path, jwks_headers, mac
FROM tenants
WHERE id = ANY (ARRAY(
    SELECT id FROM (
        (SELECT id, COALESCE(search_text, lower(slug || ' ' || name)) AS text, created_at FROM tenants
        WHERE @status::text = '' AND status <> 'deleted' AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
        ORDER BY created_at DESC, id DESC LIMIT 1000)
        UNION ALL
        (SELECT id, COALESCE(search_text, lower(slug || ' ' || name)) AS text, created_at FROM tenants
        WHERE status = @status::text AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
        ORDER BY created_at DESC, id DESC LIMIT 1000)) AS newest
    WHERE strpos(text, @q::text) > 0
    ORDER BY created_at DESC, id DESC
    LIMIT @page_size::integer))
ORDER BY created_at DESC, id DESC;

-- name: MoreThanNewestTenants :one
-- Whether there are more tenants after that thousand.
SELECT EXISTS (
    (SELECT id FROM tenants
    WHERE @status::text = '' AND status <> 'deleted' AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
    ORDER BY created_at DESC, id DESC OFFSET 1000 LIMIT 1)
    UNION ALL
    (SELECT id FROM tenants
    WHERE status = @status::text AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
    ORDER BY created_at DESC, id DESC OFFSET 1000 LIMIT 1))::boolean AS more;

-- name: FindTenants :many
-- MatchNewestTenants among all tenants, by the trigram index: for rare texts. Without OFFSET 0 PostgreSQL could expect many matches and
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
