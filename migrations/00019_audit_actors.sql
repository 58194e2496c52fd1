-- +goose Up
SET LOCAL ROLE keyward_owner;

-- One tenant's history by who acted, in the order of a list. Most events of most histories are by the schedule, and nobody looks for
-- these by the name of it: they are in no index but a small one by process, whose entries share a key and so have no order.
CREATE INDEX audit_events_by_actor ON audit_events (tenant_id, actor_id, seq) WHERE actor_name <> 'worker';
CREATE INDEX audit_events_by_actor_name ON audit_events (tenant_id, actor_name, seq) WHERE actor_name <> 'worker';
CREATE INDEX audit_events_by_process ON audit_events (tenant_id, actor_id) WHERE actor_name = 'worker';

-- A key comes into a state by one action or two (audit.LeadsTo), so that the index by action has the states in it.
DROP INDEX audit_events_by_state;

RESET ROLE;
