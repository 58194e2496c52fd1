-- name: LockNames :exec
-- Changes of the names that all tenants share take turns, because unique indexes do not compare issuers with custom domains.
SELECT pg_advisory_xact_lock(7310297735160587123);

-- name: HostsTaken :one
-- Whether another live tenant has one of the hosts, as its custom domain or as a verified domain, or has an issuer at the given one.
SELECT (EXISTS (SELECT FROM tenants WHERE status <> 'deleted' AND custom_domain = ANY (@hosts::text[]) AND id <> @tenant_id::uuid)
    OR EXISTS (SELECT FROM domains WHERE verified_at IS NOT NULL AND domain = ANY (@hosts::text[]) AND tenant_id <> @tenant_id::uuid)
    OR EXISTS (SELECT FROM tenants WHERE status <> 'deleted' AND issuer_name IS NOT NULL
        AND substring(issuer_name FROM '^https?://([^/:]+)') = @domain::text AND id <> @tenant_id::uuid))::boolean AS taken;

-- name: IssuerAtHost :one
-- A live tenant whose own issuer is at a host, or whose custom domain is that host.
SELECT slug FROM tenants
WHERE status <> 'deleted' AND (custom_domain = @host::text OR issuer_name IS NOT NULL AND substring(issuer_name FROM '^https?://([^/:]+)') = @host::text)
ORDER BY slug LIMIT 1;

-- name: IssuersOfTenants :many
-- Which of some issuers live tenants have, in the form in which these are unique.
SELECT COALESCE(issuer_name, lower(rtrim(issuer, '/')), '/t/' || slug)::text AS issuer FROM tenants
WHERE status <> 'deleted' AND COALESCE(issuer_name, lower(rtrim(issuer, '/')), '/t/' || slug) = ANY (@issuers::text[]);

-- name: VerifiedDomains :many
SELECT tenant_id, domain, token, created_at, verified_at, mac FROM domains
WHERE tenant_id = @tenant_id AND domain = ANY (@domains::text[]) AND verified_at IS NOT NULL;

-- name: InsertDomain :exec
INSERT INTO domains (tenant_id, domain, token, created_at) VALUES (@tenant_id, @domain, @token, @created_at);

-- name: GetDomain :one
SELECT tenant_id, domain, token, created_at, verified_at, mac FROM domains WHERE tenant_id = @tenant_id AND domain = @domain;

-- name: ListDomains :many
SELECT tenant_id, domain, token, created_at, verified_at, mac FROM domains
WHERE tenant_id = @tenant_id AND domain > @after_domain
ORDER BY domain
LIMIT @page_size::integer;

-- name: CountDomains :one
SELECT count(*) FROM domains WHERE tenant_id = @tenant_id;

-- name: VerifyDomain :execrows
UPDATE domains SET verified_at = @verified_at::timestamptz, mac = @mac WHERE tenant_id = @tenant_id AND domain = @domain;

-- name: DeleteDomain :execrows
DELETE FROM domains WHERE tenant_id = @tenant_id AND domain = @domain;

-- name: DeleteDomains :execrows
DELETE FROM domains WHERE tenant_id = @tenant_id;
