-- +goose Up
SET LOCAL ROLE keyward_owner;

-- Room on the pages of rows that change in place. The head of a tenant's chain
-- moves with every event and no index has it, so that with room beside it the
-- row's new version stays on its page and no index is written (HOT). The same
-- goes for what keys have signed and when credentials were last used.
ALTER TABLE tenants SET (fillfactor = 80);
ALTER TABLE keys SET (fillfactor = 90);
ALTER TABLE api_keys SET (fillfactor = 80);

-- Dead rows are cleared, and what is only ever appended is marked visible, by
-- how much was written and not by a share of the table: a fifth of a billion
-- rows would be years.
ALTER TABLE tenants SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE policies SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE keys SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE audit_events SET (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.02);

RESET ROLE;
