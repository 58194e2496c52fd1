-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Requests for the approval of a second person, and the decisions. The request
-- itself is stored as a digest only: its body may hold a private key. Its path says
-- which key, credential or webhook it concerns, changes which values of settings and policies.
CREATE TABLE public.approvals (
    tenant_id      uuid        NOT NULL REFERENCES public.tenants (id),
    id             uuid        NOT NULL,
    operation      text        NOT NULL,
    effects        text[]      NOT NULL,
    operation_id   text        NOT NULL,
    path           text        NOT NULL,
    changes        json,       -- of settings and policies: [{field, alg, before, after}]
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
    mac            bytea, -- authenticates the row in its state (tenant/authority.go)

    PRIMARY KEY (tenant_id, id),
    CONSTRAINT approvals_operation CHECK (operation IN ('revoke', 'revoke_all', 'import', 'purge', 'delete', 'policy', 'api_keys', 'settings', 'relax')),
    CONSTRAINT approvals_effects CHECK (cardinality(effects) BETWEEN 1 AND 8
        AND effects <@ ARRAY['revoke', 'revoke_all', 'import', 'purge', 'delete', 'policy', 'api_keys', 'settings']),
    CONSTRAINT approvals_request CHECK (char_length(operation_id) BETWEEN 1 AND 100 AND char_length(path) BETWEEN 1 AND 2000),
    CONSTRAINT approvals_changes CHECK (json_typeof(changes) = 'array' AND octet_length(changes::text) <= 65536),
    CONSTRAINT approvals_request_hash CHECK (octet_length(request_hash) = 32),
    CONSTRAINT approvals_status CHECK (status IN ('pending', 'approved', 'rejected', 'used')),
    CONSTRAINT approvals_decided CHECK ((decided_at IS NOT NULL) = (status <> 'pending')),
    CONSTRAINT approvals_decider CHECK ((decider_type IS NOT NULL) = (decided_at IS NOT NULL)
        AND (decider_id IS NOT NULL) = (decided_at IS NOT NULL) AND (decider_name IS NOT NULL) = (decided_at IS NOT NULL)),
    CONSTRAINT approvals_used CHECK ((used_at IS NOT NULL) = (status = 'used')),
    CONSTRAINT approvals_expires CHECK (expires_at > created_at AND decided_at < expires_at AND used_at < expires_at),
    CONSTRAINT approvals_second_person CHECK ((decider_type, decider_id) IS DISTINCT FROM (requester_type, requester_id)),
    CONSTRAINT approvals_representable CHECK (LEAST(created_at, expires_at, decided_at, used_at) >= '0001-01-01Z'
        AND GREATEST(created_at, expires_at, decided_at, used_at) < '10000-01-01Z')
);

CREATE INDEX approvals_created ON public.approvals (tenant_id, created_at DESC, id DESC);
-- Those of all tenants that wait. Those that have ended stay in it, behind the others.
CREATE INDEX approvals_waiting ON public.approvals (created_at DESC, id DESC) WHERE status = 'pending';

-- +goose StatementBegin
-- keyward_guard_approval checks the transitions of an approval.
CREATE FUNCTION public.keyward_guard_approval() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'pending' THEN
            PERFORM public.keyward_refuse('approvals_birth', 'an approval is asked for before it is given');
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.id, NEW.operation, NEW.effects, NEW.operation_id, NEW.path, NEW.changes::text, NEW.request_hash, NEW.requester_type, NEW.requester_id, NEW.requester_name, NEW.created_at, NEW.expires_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.id, OLD.operation, OLD.effects, OLD.operation_id, OLD.path, OLD.changes::text, OLD.request_hash, OLD.requester_type, OLD.requester_id, OLD.requester_name, OLD.created_at, OLD.expires_at) THEN
        PERFORM public.keyward_refuse('approvals_identity', 'an approval keeps its request, requester and end');
    END IF;
    IF (OLD.status, NEW.status) NOT IN (('pending', 'approved'), ('pending', 'rejected'), ('approved', 'used')) THEN
        PERFORM public.keyward_refuse('approvals_transition', 'an approval does not go from ' || OLD.status || ' to ' || NEW.status);
    END IF;
    IF OLD.status = 'approved' AND (NEW.decider_type, NEW.decider_id, NEW.decider_name, NEW.decided_at)
        IS DISTINCT FROM (OLD.decider_type, OLD.decider_id, OLD.decider_name, OLD.decided_at) THEN
        PERFORM public.keyward_refuse('approvals_decision_stays', 'who decided, and when, never changes');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER approvals_guard BEFORE INSERT OR UPDATE ON public.approvals
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_approval();
CREATE CONSTRAINT TRIGGER approvals_requested_audited AFTER INSERT ON public.approvals
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_audited('approval.requested', 'id', 'operation');
CREATE CONSTRAINT TRIGGER approvals_approved_audited AFTER UPDATE ON public.approvals
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'approved') EXECUTE FUNCTION public.keyward_guard_audited('approval.approved', 'id', 'operation');
CREATE CONSTRAINT TRIGGER approvals_rejected_audited AFTER UPDATE ON public.approvals
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'rejected') EXECUTE FUNCTION public.keyward_guard_audited('approval.rejected', 'id', 'operation');
CREATE CONSTRAINT TRIGGER approvals_used_audited AFTER UPDATE ON public.approvals
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'used') EXECUTE FUNCTION public.keyward_guard_audited('approval.used', 'id', 'operation');
CREATE TRIGGER approvals_never_deleted BEFORE DELETE OR TRUNCATE ON public.approvals
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();

RESET search_path;
RESET ROLE;
