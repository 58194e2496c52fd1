-- +goose Up
SET LOCAL ROLE keyward_owner;

-- The JWK Set of each tenant as it is served, so that a reader who has it in no
-- memory looks up one row instead of asking five questions. Whoever changes keys
-- or policies writes it in the same transaction. It says nothing that is not in
-- keys and policies: a row that is missing or behind is passed over, and they are
-- read.
CREATE TABLE jwk_sets (
    tenant_id  uuid PRIMARY KEY REFERENCES tenants (id),
    -- Of the outline; a program that does not know it passes the row over.
    format     smallint    NOT NULL,
    -- The transaction that wrote the row. The row counts while it is also the
    -- last one that changed what the public sees of the tenant (tenants.feed_xid).
    feed_xid   xid8        NOT NULL,
    changed_at timestamptz NOT NULL, -- the time of that change
    body       bytea       NOT NULL, -- RFC 7517 section 5
    outline    text        NOT NULL  -- what the keys are, and how the tenant signs (keys/set.go)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);

-- A kilobyte or two of what does not compress: in the row, not beside it.
ALTER TABLE jwk_sets ALTER COLUMN body SET STORAGE MAIN, ALTER COLUMN outline SET STORAGE MAIN;

GRANT SELECT, INSERT, UPDATE ON jwk_sets TO keyward_platform, keyward_app;
GRANT SELECT ON jwk_sets TO keyward_public;
GRANT SELECT (feed_xid) ON tenants TO keyward_public;

ALTER TABLE jwk_sets ENABLE ROW LEVEL SECURITY;
ALTER TABLE jwk_sets FORCE ROW LEVEL SECURITY;
CREATE POLICY every_tenant ON jwk_sets TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY one_tenant ON jwk_sets TO keyward_app USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());
-- The public finds a tenant by its address and its set in one statement, before
-- it can have said whose it asks for. Nothing else is in here.
CREATE POLICY anybody ON jwk_sets TO keyward_public USING (true);

-- What the public sees of a tenant changes with its keys and policies, so an
-- event of theirs must belong to the transaction that feed_xid names: a set from
-- before cannot count after it.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION keyward_guard_audit_event() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    head_seq  bigint;
    head_hash bytea;
    seen_xid  xid8;
    last_hash bytea;
    last_xid  xid8;
BEGIN
    IF NEW.xid <> pg_current_xact_id() THEN
        PERFORM keyward_refuse('audit_events_xid', 'an audit event belongs to the transaction that writes it');
    END IF;
    SELECT t.audit_seq, t.audit_hash, t.feed_xid, e.hash, e.feed_xid INTO head_seq, head_hash, seen_xid, last_hash, last_xid
    FROM tenants t LEFT JOIN audit_events e ON e.tenant_id = t.id AND e.seq = NEW.seq - 1
    WHERE t.id = NEW.tenant_id;
    IF head_seq IS NULL OR NEW.seq > head_seq OR (NEW.seq = head_seq AND NEW.hash <> head_hash) THEN
        PERFORM keyward_refuse('audit_events_reach_head', 'an audit event must lead up to the head of its tenant');
    END IF;
    IF (left(NEW.action, 4) = 'key.' OR left(NEW.action, 7) = 'policy.') AND seen_xid IS DISTINCT FROM pg_current_xact_id() THEN
        PERFORM keyward_refuse('audit_events_seen', 'a move of a key and a change of a policy are seen by the public, and feed_xid must say so');
    END IF;
    IF NEW.seq = 1 THEN
        last_hash := '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea;
        last_xid := NULL;
    END IF;
    IF last_hash IS NULL OR last_hash <> NEW.prev_hash THEN
        PERFORM keyward_refuse('audit_events_chain', 'an audit event must continue the one before it');
    END IF;
    -- The order of the platform's feed (00008). GREATEST passes over the NULL of
    -- a tenant's first event.
    NEW.feed_xid := GREATEST(pg_current_xact_id(), last_xid);
    RETURN NEW;
END
$$;
-- +goose StatementEnd

RESET ROLE;
