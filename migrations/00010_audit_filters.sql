-- +goose Up
SET LOCAL ROLE keyward_owner;

-- One tenant's history by what happened, by the state a key came into, and by time, each in the order of a list: a page is read
-- from the index and not out of the whole history. An actor is not indexed: most events are by few of them.
CREATE INDEX audit_events_by_action ON audit_events (tenant_id, action, seq);
CREATE INDEX audit_events_by_state ON audit_events (tenant_id, to_state, seq) WHERE to_state IS NOT NULL;
CREATE INDEX audit_events_of_tenant_by_time ON audit_events (tenant_id, at, seq);

-- The history of a tenant's keys says until when those that still sign are planned to stay.
GRANT SELECT (rotation_interval_seconds, grace_period_seconds) ON policies TO keyward_public;

RESET ROLE;
