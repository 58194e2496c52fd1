-- The public data of a tenant, read as keyward_public, which can read no more. One statement finds the tenant and its rendered JWK Set,
-- if the set is up to date and has the format of this program. It returns no row to any other role: a pooler may have reset the role of
-- the connection, and a superuser would find the tenant too.

-- name: PublicTenantBySlug :one
SELECT t.id, t.slug, t.issuer, t.custom_domain, t.status, t.jwks_max_age_seconds, t.jwks_stale_while_revalidate_seconds, t.jwks_stale_if_error_seconds,
    t.clock_skew_seconds, t.not_before, t.audit_seq, t.metadata, t.jwks_path, t.jwks_headers, t.approval_required, t.updated_at, t.mac,
    (CASE WHEN t.jwks_xid = t.feed_xid AND starts_with(t.jwks_outline, 'v1 ') THEN t.jwks END)::bytea AS jwks, COALESCE(t.jwks_outline, '')::text AS outline
FROM tenants t
WHERE t.slug = @slug AND t.status <> 'deleted' AND current_user = 'keyward_public';

-- name: PublicTenant :one
SELECT t.id, t.slug, t.issuer, t.custom_domain, t.status, t.jwks_max_age_seconds, t.jwks_stale_while_revalidate_seconds, t.jwks_stale_if_error_seconds,
    t.clock_skew_seconds, t.not_before, t.audit_seq, t.metadata, t.jwks_path, t.jwks_headers, t.approval_required, t.updated_at, t.mac,
    (CASE WHEN t.jwks_xid = t.feed_xid AND starts_with(t.jwks_outline, 'v1 ') THEN t.jwks END)::bytea AS jwks, COALESCE(t.jwks_outline, '')::text AS outline
FROM tenants t
WHERE t.id = @tenant_id AND t.status <> 'deleted' AND current_user = 'keyward_public';

-- name: EnterPublicTenant :one
-- Sets the tenant, if it is live, for row level security of the following statements in the same round trip.
SELECT set_config('keyward.tenant_id', id::text, true)::text AS scope FROM tenants WHERE id = @tenant_id AND status <> 'deleted';

-- name: TenantOfDomain :one
SELECT id FROM tenants WHERE custom_domain = @domain AND status <> 'deleted';

-- name: PublishedKeys :many
-- The keys of the tenant's JWK Set. They are few, and the caller sorts them: a sort costs more here.
SELECT kid, alg, algs, state, public_jwk, created_at, deprecated_at
FROM keys
WHERE tenant_id = keyward_tenant() AND state IN ('active', 'standby', 'deprecated');

-- name: PublicPolicies :many
SELECT tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds,
    purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, min_adoption, max_adoption_wait_seconds, updated_at, mac
FROM policies
WHERE tenant_id = keyward_tenant() AND retired_at IS NULL;

-- name: PublicChangedAt :one
SELECT at FROM audit_events WHERE tenant_id = keyward_tenant() ORDER BY seq DESC LIMIT 1;

-- name: PublicKeyHistory :many
-- Every key that ever signed, here or before its import, and is not purged, with the policy's durations for keys that still sign.
SELECT k.kid, k.alg, k.algs, k.state, k.public_jwk, k.created_at, k.activated_at, k.expires_at, k.expired_at, k.revoked_at, k.revocation_reason,
    COALESCE(p.rotation_interval_seconds, 0)::bigint AS rotation_interval_seconds,
    COALESCE(p.grace_period_seconds, 0)::bigint AS grace_period_seconds
FROM keys k
LEFT JOIN policies p ON p.tenant_id = k.tenant_id AND p.alg = k.alg
WHERE k.tenant_id = keyward_tenant() AND k.state <> 'purged' AND (k.activated_at IS NOT NULL OR k.deprecated_at IS NOT NULL)
ORDER BY COALESCE(k.activated_at, k.created_at) DESC, k.kid;
