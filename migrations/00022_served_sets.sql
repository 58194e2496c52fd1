-- +goose Up
SET LOCAL ROLE keyward_owner;

-- The JWK Set of each tenant as it is served, in the tenant's own row: a reader
-- who has it in no memory looks up one row instead of asking five questions.
-- Whoever changes keys or policies writes it in the statement that moves the
-- head of the tenant's chain. It says nothing that is not in keys and policies:
-- where it is missing or behind, they are read.
ALTER TABLE tenants
    ADD COLUMN jwks bytea, -- RFC 7517 section 5
    ADD COLUMN jwks_outline text, -- what the keys are, and how the tenant signs (keys/set.go)
    -- The transaction that wrote them, or found them up to date: they count while
    -- that is also the last one that changed what the public sees (feed_xid).
    ADD COLUMN jwks_xid xid8;

-- What does not compress: in the row while that is small, else beside it, where
-- a move of the head does not write it again.
ALTER TABLE tenants ALTER COLUMN jwks SET STORAGE EXTERNAL;

CREATE TRIGGER tenants_jwks_guard BEFORE UPDATE OF jwks, jwks_outline, jwks_xid ON tenants
    FOR EACH ROW WHEN (NEW.audit_seq = OLD.audit_seq
        AND (NEW.jwks, NEW.jwks_outline, NEW.jwks_xid) IS DISTINCT FROM (OLD.jwks, OLD.jwks_outline, OLD.jwks_xid))
    EXECUTE FUNCTION keyward_guard_metadata();

GRANT SELECT (jwks, jwks_outline, jwks_xid, feed_xid) ON tenants TO keyward_public;

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
