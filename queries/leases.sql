-- name: AcquireLease :one
-- Acquires a lease that is free or expired, with a new term.
INSERT INTO leases AS l (name, holder, term, expires_at, renewed_at)
VALUES (@name, @holder, 1, clock_timestamp() + make_interval(secs => @ttl_seconds::double precision), clock_timestamp())
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, term = l.term + 1, expires_at = excluded.expires_at, renewed_at = excluded.renewed_at
WHERE l.expires_at < clock_timestamp()
RETURNING term;

-- name: GetLease :one
SELECT holder, term, renewed_at, (expires_at < clock_timestamp())::boolean AS expired FROM leases WHERE name = @name;

-- name: RenewLease :execrows
UPDATE leases
SET expires_at = clock_timestamp() + make_interval(secs => @ttl_seconds::double precision), renewed_at = clock_timestamp()
WHERE name = @name AND holder = @holder AND term = @term AND expires_at >= clock_timestamp();

-- name: ReleaseLease :execrows
UPDATE leases SET expires_at = clock_timestamp() - interval '1 second' WHERE name = @name AND holder = @holder AND term = @term;
