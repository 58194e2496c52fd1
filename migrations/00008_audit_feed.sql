-- +goose Up
SET LOCAL ROLE keyward_owner;

-- The order in which the platform's feed tells events: the greatest xid of the
-- tenant's events so far. Xid alone would not do: a transaction that began early
-- may reach a tenant late, and then its events continue those of a later one.
-- An event whose feed_xid is below the oldest running transaction is visible,
-- and nothing will come to lie before it. Events from before this migration
-- come first.
ALTER TABLE audit_events ADD COLUMN feed_xid xid8 NOT NULL DEFAULT '0';

CREATE INDEX audit_events_feed ON audit_events (feed_xid, tenant_id, seq);

-- +goose StatementBegin
CREATE FUNCTION keyward_order_audit_event() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    -- GREATEST passes over the NULL of a tenant's first event.
    NEW.feed_xid := GREATEST(pg_current_xact_id(),
        (SELECT feed_xid FROM audit_events WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq - 1));
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER audit_events_order BEFORE INSERT ON audit_events
    FOR EACH ROW EXECUTE FUNCTION keyward_order_audit_event();

RESET ROLE;
