-- +goose Up
-- Roles belong to the whole cluster, so they may exist already. None of them
-- can log in: the login role of a process takes one of them per transaction.
--
--   keyward_owner     owns the tables
--   keyward_app       one tenant's rows (row level security)
--   keyward_platform  every tenant's rows: the worker and the platform's endpoints
--   keyward_public    what anybody may know: no sealed key, no data key, no credential
-- +goose StatementBegin
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keyward_owner', 'keyward_app', 'keyward_platform', 'keyward_public'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
        IF NOT pg_has_role(current_user, name, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', name, current_user);
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd

GRANT USAGE ON SCHEMA public TO keyward_owner, keyward_app, keyward_platform, keyward_public;
GRANT CREATE ON SCHEMA public TO keyward_owner;

SET LOCAL ROLE keyward_owner;

-- The tenant this transaction is about; NULL, so that nothing matches, where
-- the door did not say.
CREATE FUNCTION keyward_tenant() RETURNS uuid
    LANGUAGE sql STABLE
    RETURN nullif(current_setting('keyward.tenant_id', true), '')::uuid;

-- keyward_refuse ends the transaction and names the broken rule as if it were
-- a constraint, so that callers tell rules apart by name and not by text.
-- +goose StatementBegin
CREATE FUNCTION keyward_refuse(rule text, message text) RETURNS void
    LANGUAGE plpgsql AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = rule, MESSAGE = message;
END
$$;
-- +goose StatementEnd

RESET ROLE;
