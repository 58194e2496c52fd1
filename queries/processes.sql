-- name: UpsertProcess :exec
INSERT INTO processes (id, name, kind, version, address, master_keys, clock_offset_microseconds, confirmed_until)
VALUES (@id, @name, @kind, @version, @address, @master_keys::text[], @clock_offset_microseconds, @confirmed_until)
ON CONFLICT (id) DO UPDATE SET
    heard_at = clock_timestamp(), address = EXCLUDED.address, master_keys = EXCLUDED.master_keys,
    clock_offset_microseconds = EXCLUDED.clock_offset_microseconds, confirmed_until = GREATEST(processes.confirmed_until, EXCLUDED.confirmed_until);

-- name: LiveProcesses :many
-- They are a handful.
SELECT id, name, kind, version, address, master_keys, clock_offset_microseconds, started_at, heard_at, confirmed_until
FROM processes WHERE heard_at > clock_timestamp() - interval '10 s' ORDER BY name, id;

-- name: DeleteProcess :exec
DELETE FROM processes WHERE id = @id;

-- name: DeleteGoneProcesses :execrows
DELETE FROM processes WHERE heard_at < clock_timestamp() - interval '1 day';

-- name: AskForConfirmation :one
-- Every process that listens answers with at least the returned time, in microseconds
-- since 1970, once it serves what was committed before.
WITH now AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros)
SELECT micros, pg_notify('keyward_confirm', 'ask ' || micros)::text AS told FROM now;

-- name: AnswerConfirmation :exec
SELECT pg_notify('keyward_confirm', @payload);
