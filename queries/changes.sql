-- name: NotifyChanges :exec
-- Notifies every process of changed tenants when this transaction commits.
SELECT pg_notify('keyward', payload) FROM unnest(@payloads::text[]) AS payload;
