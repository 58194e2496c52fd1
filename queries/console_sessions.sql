-- name: InsertConsoleSession :exec
INSERT INTO console_sessions (token_hash, api_key_id, subject, subject_name, role, of_tenant, created_at, last_seen_at, expires_at, mac)
VALUES (@token_hash, sqlc.narg(api_key_id), sqlc.narg(subject), sqlc.narg(subject_name), sqlc.narg(role), sqlc.narg(of_tenant), @created_at, @created_at, @expires_at, @mac);

-- name: GetConsoleSession :one
SELECT token_hash, api_key_id, subject, subject_name, role, of_tenant, created_at, last_seen_at, expires_at, mac
FROM console_sessions
WHERE token_hash = @token_hash AND expires_at > @now::timestamptz AND last_seen_at > @seen_after::timestamptz;

-- name: TouchConsoleSession :exec
UPDATE console_sessions SET last_seen_at = GREATEST(last_seen_at, @last_seen_at) WHERE token_hash = @token_hash;

-- name: DeleteConsoleSession :execrows
DELETE FROM console_sessions WHERE token_hash = @token_hash;

-- name: DeleteConsoleSessionsOf :execrows
-- All sessions of one API key, or of one subject of the identity provider.
DELETE FROM console_sessions
WHERE api_key_id = sqlc.narg(api_key_id)::uuid OR subject = sqlc.narg(subject)::text;

-- name: DeleteEndedConsoleSessions :exec
-- A few of those that are over, whenever one begins: the table stays as large as the number of people signed in.
DELETE FROM console_sessions
WHERE token_hash IN (
    SELECT token_hash FROM console_sessions WHERE expires_at <= @now::timestamptz ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED);

-- name: DeleteOldestConsoleSessions :exec
-- Of one API key, or of one subject of the identity provider: all but the newest.
DELETE FROM console_sessions
WHERE token_hash IN (
    SELECT token_hash FROM console_sessions
    WHERE api_key_id = sqlc.narg(api_key_id)::uuid OR subject = sqlc.narg(subject)::text
    ORDER BY created_at DESC, token_hash OFFSET @newest::integer);
