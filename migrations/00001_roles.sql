-- +goose Up
-- Roles, and what all tables need.
--
-- Roles belong to the whole cluster, so they may exist already. None of them
-- can log in: the login of a process takes one of them for each transaction.
--
--   keyward_owner     owns the tables
--   keyward_app       one tenant's rows (row level security)
--   keyward_platform  every tenant's rows: the worker and the platform's endpoints
--   keyward_public    public data: no sealed key, no data key, no credential
--
-- Every object is in the schema public. Each function fixes its search_path and
-- names tables and functions with their schema, so that a session's temporary
-- tables, its own search_path or objects of other schemas cannot take their
-- place. Conditions of triggers, constraints, indexes and policies need no
-- search_path: PostgreSQL resolves their names once, when they are created.
-- Each migration creates them under a fixed search_path for the same reason.
-- +goose StatementBegin
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keyward_owner', 'keyward_app', 'keyward_platform', 'keyward_public'] LOOP
        -- A login that may not create roles can migrate if they exist.
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
        IF NOT pg_has_role(current_user, name, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', name, current_user);
        END IF;
    END LOOP;
END
$$;

-- No login needs temporary tables, so nobody gets them. Only the owner of the
-- database can revoke this; under another login it stays as it is. The guards do
-- not depend on it.
DO $$
BEGIN
    IF (SELECT pg_has_role(current_user, datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
END
$$;
-- +goose StatementEnd

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO keyward_owner, keyward_app, keyward_platform, keyward_public;
GRANT CREATE ON SCHEMA public TO keyward_owner;

SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- keyward_tenant returns the tenant of this transaction. It is NULL, and equal to
-- no tenant, if the transaction was begun without one.
CREATE FUNCTION public.keyward_tenant() RETURNS uuid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN nullif(current_setting('keyward.tenant_id', true), '')::uuid;

-- +goose StatementBegin
-- keyward_refuse ends the transaction and names the broken rule as if it were a
-- constraint, so that callers distinguish rules by name and not by message.
CREATE FUNCTION public.keyward_refuse(rule text, message text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = rule, MESSAGE = message;
END
$$;

-- keyward_clock is the clock with which the guards compare times of effect. Tests that
-- move time replace it in their database, which only the owner can; `keyward doctor`
-- reports a replaced one. NULL, which no clock shows, accepts any time.
CREATE FUNCTION public.keyward_clock() RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    RETURN clock_timestamp();
END
$$;

-- keyward_signing_tail is the time for which tokens of the state before a change may
-- still be signed after the change's time (keys.SigningTail): 10 s by a replica that
-- hears nothing, 5 s by which the time may lie before the commit
-- (audit_events_time_of_effect), 2 s by which the replica's clock may be ahead.
CREATE FUNCTION public.keyward_signing_tail() RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
SELECT interval '10 seconds' + interval '5 seconds' + interval '2 seconds'
$$;

-- keyward_guard_never_deleted refuses DELETE and TRUNCATE.
CREATE FUNCTION public.keyward_guard_never_deleted() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    PERFORM public.keyward_refuse(TG_TABLE_NAME || '_never_deleted', 'rows of ' || TG_TABLE_NAME || ' are history and are never deleted');
    RETURN NULL;
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION public.keyward_clock() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.keyward_clock() TO keyward_app, keyward_platform;

RESET search_path;
RESET ROLE;
