-- name: CheckpointPlace :one
SELECT tried_since, written_at, failures, error FROM checkpoint_places WHERE target = @target;

-- name: RecordCheckpoint :exec
-- Two processes may lead for a moment: the later time counts.
INSERT INTO checkpoint_places (target, tried_since, written_at, failures) VALUES (@target, @written_at::timestamptz, @written_at::timestamptz, 0)
ON CONFLICT (target) DO UPDATE SET written_at = GREATEST(checkpoint_places.written_at, excluded.written_at), failures = 0, error = NULL;

-- name: RecordCheckpointFailure :exec
INSERT INTO checkpoint_places (target, tried_since, failures, error) VALUES (@target, @failed_at, 1, @error::text)
ON CONFLICT (target) DO UPDATE SET failures = LEAST(checkpoint_places.failures, 1000000) + 1, error = excluded.error;
