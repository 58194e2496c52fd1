-- name: AcquireLease :one
-- Acquires a lease that is free or expired, with a new term.
INSERT INTO leases AS l (name, holder, term, expires_at)
VALUES (@name, @holder, 1, clock_timestamp() + make_interval(secs => @ttl_seconds::double precision))
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, term = l.term + 1, expires_at = excluded.expires_at
WHERE l.expires_at < clock_timestamp()
RETURNING term;

-- name: RenewLease :execrows
UPDATE leases
SET expires_at = clock_timestamp() + make_interval(secs => @ttl_seconds::double precision)
WHERE name = @name AND holder = @holder AND term = @term AND expires_at >= clock_timestamp();

-- name: ReleaseLease :execrows
UPDATE leases SET expires_at = clock_timestamp() - interval '1 second' WHERE name = @name AND holder = @holder AND term = @term;
