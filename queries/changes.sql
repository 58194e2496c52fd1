-- name: NotifyChanges :exec
-- Tells every process that tenants have changed, when this transaction commits.
SELECT pg_notify('keyward', payload) FROM unnest(@payloads::text[]) AS payload;
