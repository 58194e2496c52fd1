-- +goose Up
SET LOCAL ROLE keyward_owner;

-- Operations that a second person has to agree to.
ALTER TABLE tenants
    ADD COLUMN approval_required text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT tenants_approval_required CHECK (
        approval_required <@ ARRAY['revoke_all', 'import', 'purge', 'delete'] AND cardinality(approval_required) <= 4);

-- What somebody asked to do, and what somebody else says of it. Of the request
-- there is a digest only: a body may hold a private key.
CREATE TABLE approvals (
    tenant_id      uuid        NOT NULL REFERENCES tenants (id),
    id             uuid        NOT NULL,
    operation      text        NOT NULL,
    request_hash   bytea       NOT NULL,
    status         text        NOT NULL DEFAULT 'pending',
    requester_type text        NOT NULL,
    requester_id   text        NOT NULL,
    requester_name text        NOT NULL,
    decider_type   text,
    decider_id     text,
    decider_name   text,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    decided_at     timestamptz,
    used_at        timestamptz,

    PRIMARY KEY (tenant_id, id),
    CONSTRAINT approvals_operation CHECK (operation IN ('revoke_all', 'import', 'purge', 'delete', 'relax')),
    CONSTRAINT approvals_request_hash CHECK (octet_length(request_hash) = 32),
    CONSTRAINT approvals_status CHECK (status IN ('pending', 'approved', 'rejected', 'used')),
    CONSTRAINT approvals_decided CHECK ((decided_at IS NOT NULL) = (status <> 'pending')),
    CONSTRAINT approvals_decider CHECK ((decider_type IS NOT NULL) = (decided_at IS NOT NULL)
        AND (decider_id IS NOT NULL) = (decided_at IS NOT NULL) AND (decider_name IS NOT NULL) = (decided_at IS NOT NULL)),
    CONSTRAINT approvals_used CHECK ((used_at IS NOT NULL) = (status = 'used')),
    CONSTRAINT approvals_expires CHECK (expires_at > created_at AND decided_at < expires_at AND used_at < expires_at),
    CONSTRAINT approvals_second_person CHECK ((decider_type, decider_id) IS DISTINCT FROM (requester_type, requester_id))
);

CREATE INDEX approvals_created ON approvals (tenant_id, created_at DESC, id DESC);

-- +goose StatementBegin
CREATE FUNCTION keyward_guard_approval() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'pending' THEN
            PERFORM keyward_refuse('approvals_birth', 'an approval is asked for before it is given');
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.id, NEW.operation, NEW.request_hash, NEW.requester_type, NEW.requester_id, NEW.requester_name, NEW.created_at, NEW.expires_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.id, OLD.operation, OLD.request_hash, OLD.requester_type, OLD.requester_id, OLD.requester_name, OLD.created_at, OLD.expires_at) THEN
        PERFORM keyward_refuse('approvals_identity', 'an approval keeps its request, requester and end');
    END IF;
    IF (OLD.status, NEW.status) NOT IN (('pending', 'approved'), ('pending', 'rejected'), ('approved', 'used')) THEN
        PERFORM keyward_refuse('approvals_transition', 'an approval does not go from ' || OLD.status || ' to ' || NEW.status);
    END IF;
    IF OLD.status = 'approved' AND (NEW.decider_type, NEW.decider_id, NEW.decider_name, NEW.decided_at)
        IS DISTINCT FROM (OLD.decider_type, OLD.decider_id, OLD.decider_name, OLD.decided_at) THEN
        PERFORM keyward_refuse('approvals_decision_stays', 'who decided, and when, never changes');
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION keyward_guard_approval_required() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF NEW.audit_seq = OLD.audit_seq AND NEW.approval_required IS DISTINCT FROM OLD.approval_required THEN
        PERFORM keyward_refuse('tenants_change_is_audited', 'a tenant does not change without an audit event');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER tenants_approval_required BEFORE UPDATE OF approval_required ON tenants
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_approval_required();
CREATE TRIGGER approvals_guard BEFORE INSERT OR UPDATE ON approvals
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_approval();
CREATE CONSTRAINT TRIGGER approvals_audited AFTER INSERT OR UPDATE ON approvals
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION keyward_guard_audited('^approval\.');
CREATE TRIGGER approvals_never_deleted BEFORE DELETE OR TRUNCATE ON approvals
    FOR EACH STATEMENT EXECUTE FUNCTION keyward_guard_never_deleted();

GRANT SELECT, INSERT, UPDATE ON approvals TO keyward_app, keyward_platform;

ALTER TABLE approvals ENABLE ROW LEVEL SECURITY;
ALTER TABLE approvals FORCE ROW LEVEL SECURITY;

CREATE POLICY every_tenant ON approvals TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY one_tenant ON approvals TO keyward_app USING (tenant_id = keyward_tenant()) WITH CHECK (tenant_id = keyward_tenant());

RESET ROLE;
