-- +goose Up
SET LOCAL ROLE keyward_owner;

-- The transaction that last changed what verifiers see of a tenant: the order
-- in which gateways are told (queries/fleet.sql). A row whose feed_xid is below
-- the oldest running transaction is settled: whatever changes later, the row
-- itself included, comes to lie behind it. Tenants from before this migration
-- come first.
ALTER TABLE tenants ADD COLUMN feed_xid xid8 NOT NULL DEFAULT '0';

CREATE INDEX tenants_feed ON tenants (feed_xid, id);

-- +goose StatementBegin
CREATE FUNCTION keyward_guard_feed_order() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF NEW.feed_xid <> pg_current_xact_id() THEN
        PERFORM keyward_refuse('tenants_feed_order', 'a tenant is fed in the order of the transactions that change it');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER tenants_feed_order BEFORE UPDATE OF feed_xid ON tenants
    FOR EACH ROW WHEN (NEW.feed_xid <> OLD.feed_xid) EXECUTE FUNCTION keyward_guard_feed_order();

RESET ROLE;
