-- What anybody may know of a tenant, read as keyward_public, who can read no more. The first statement finds the tenant and tells
-- row level security about it; the others follow in the same round trip, so they ask keyward_tenant() for the id.

-- name: PublicTenantBySlug :one
SELECT id, slug, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds, jwks_stale_if_error_seconds,
    clock_skew_seconds, not_before, audit_seq, set_config('keyward.tenant_id', id::text, true)::text AS scope
FROM tenants
WHERE slug = @slug AND status <> 'deleted';

-- name: PublicTenant :one
SELECT id, slug, issuer, custom_domain, status, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds, jwks_stale_if_error_seconds,
    clock_skew_seconds, not_before, audit_seq, set_config('keyward.tenant_id', id::text, true)::text AS scope
FROM tenants
WHERE id = @tenant_id AND status <> 'deleted';

-- name: TenantOfDomain :one
SELECT id FROM tenants WHERE custom_domain = @domain AND status <> 'deleted';

-- name: PublishedKeys :many
-- The tenant's JWKS: active first, then standby, then deprecated, newest first.
SELECT kid, alg, state, public_jwk, published_at, activated_at, deprecated_at
FROM keys
WHERE tenant_id = keyward_tenant() AND state IN ('active', 'standby', 'deprecated')
ORDER BY array_position(ARRAY ['active', 'standby', 'deprecated'], state), created_at DESC, kid DESC;

-- name: PublicPolicies :many
SELECT alg, is_default, default_token_ttl_seconds, max_token_ttl_seconds
FROM policies
WHERE tenant_id = keyward_tenant() AND retired_at IS NULL
ORDER BY is_default DESC, alg;

-- name: PublicChangedAt :one
SELECT at FROM audit_events WHERE tenant_id = keyward_tenant() ORDER BY seq DESC LIMIT 1;
