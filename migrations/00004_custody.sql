-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Facts about a master key. The key itself is outside the database.
CREATE TABLE public.master_keys (
    id          uuid PRIMARY KEY,
    uri         text        NOT NULL,
    version     text        NOT NULL,
    is_current  boolean     NOT NULL,
    -- A known value sealed under the key: a process that opens it has the right key.
    key_check   bytea       NOT NULL,
    -- The previous key endorses this one, so that write access to this table alone
    -- cannot bring in a master key. Only the first has no endorsement.
    endorsed_by uuid REFERENCES public.master_keys (id),
    endorsement bytea,
    -- The key that authenticates rows which confer authority, wrapped by this master
    -- key. It stays the same when a master key follows another.
    authority   bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    retired_at  timestamptz,

    CONSTRAINT master_keys_endorsement CHECK ((endorsed_by IS NULL) = (endorsement IS NULL)),
    CONSTRAINT master_keys_retired_is_not_current CHECK (retired_at IS NULL OR NOT is_current),
    CONSTRAINT master_keys_version_once UNIQUE (uri, version),
    CONSTRAINT master_keys_representable CHECK (LEAST(created_at, retired_at) >= '0001-01-01Z' AND GREATEST(created_at, retired_at) < '10000-01-01Z')
);

CREATE UNIQUE INDEX master_keys_one_current ON public.master_keys (is_current) WHERE is_current;
CREATE UNIQUE INDEX master_keys_one_first ON public.master_keys ((endorsed_by IS NULL)) WHERE endorsed_by IS NULL;

CREATE TABLE public.data_keys (
    tenant_id     uuid        NOT NULL REFERENCES public.tenants (id),
    version       integer     NOT NULL,
    is_current    boolean     NOT NULL,
    wrapped       bytea,
    -- A master key cannot be deleted while this names it.
    master_key_id uuid REFERENCES public.master_keys (id),
    created_at    timestamptz NOT NULL,
    rewrapped_at  timestamptz,
    destroyed_at  timestamptz,

    PRIMARY KEY (tenant_id, version),
    CONSTRAINT data_keys_version CHECK (version >= 1),
    CONSTRAINT data_keys_wrapped CHECK ((wrapped IS NOT NULL) = (destroyed_at IS NULL)),
    CONSTRAINT data_keys_master_key CHECK ((master_key_id IS NOT NULL) = (destroyed_at IS NULL)),
    CONSTRAINT data_keys_current_is_live CHECK (NOT is_current OR destroyed_at IS NULL),
    CONSTRAINT data_keys_representable CHECK (LEAST(created_at, rewrapped_at, destroyed_at) >= '0001-01-01Z'
        AND GREATEST(created_at, rewrapped_at, destroyed_at) < '10000-01-01Z')
);

CREATE UNIQUE INDEX data_keys_one_current ON public.data_keys (tenant_id) WHERE is_current;
-- The data keys that a re-wrap still has to do.
CREATE INDEX data_keys_by_master_key ON public.data_keys (master_key_id, tenant_id, version) WHERE master_key_id IS NOT NULL;

-- +goose StatementBegin
-- keyward_guard_master_key checks that a master key keeps its identity, and that
-- it wraps nothing once it is retired.
CREATE FUNCTION public.keyward_guard_master_key() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NEW.id <> OLD.id OR NEW.uri <> OLD.uri OR NEW.version <> OLD.version OR NEW.key_check <> OLD.key_check OR NEW.authority <> OLD.authority
        OR NEW.endorsement IS DISTINCT FROM OLD.endorsement OR NEW.endorsed_by IS DISTINCT FROM OLD.endorsed_by THEN
        PERFORM public.keyward_refuse('master_keys_identity', 'a master key row keeps its uri, version and checks');
    END IF;
    IF OLD.retired_at IS NOT NULL AND NEW.retired_at IS NULL THEN
        PERFORM public.keyward_refuse('master_keys_retired_stays', 'a retired master key does not come back');
    END IF;
    IF NEW.retired_at IS NOT NULL AND OLD.retired_at IS NULL THEN
        PERFORM 1 FROM public.master_keys WHERE id = OLD.id FOR UPDATE;
        IF EXISTS (SELECT 1 FROM public.data_keys WHERE master_key_id = OLD.id) THEN
            PERFORM public.keyward_refuse('master_keys_still_wraps', 'the master key still wraps data keys');
        END IF;
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_data_key checks that a data key is wrapped by a live master key,
-- and that a destroyed one does not come back.
CREATE FUNCTION public.keyward_guard_data_key() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NEW.master_key_id IS NOT NULL THEN
        -- The foreign key takes this lock too, but later: taken here, it waits for a
        -- retirement that is under way, and a retirement waits for it.
        PERFORM 1 FROM public.master_keys WHERE id = NEW.master_key_id AND retired_at IS NULL FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM public.keyward_refuse('data_keys_master_key_is_live', 'a data key is wrapped by a master key that is not retired');
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.destroyed_at IS NOT NULL THEN
        PERFORM public.keyward_refuse('data_keys_destroyed_stays', 'a destroyed data key does not come back');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER master_keys_guard BEFORE UPDATE ON public.master_keys
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_master_key();
CREATE TRIGGER master_keys_never_deleted BEFORE DELETE OR TRUNCATE ON public.master_keys
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();
CREATE TRIGGER data_keys_guard BEFORE INSERT OR UPDATE ON public.data_keys
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_data_key();
CREATE TRIGGER data_keys_never_deleted BEFORE DELETE OR TRUNCATE ON public.data_keys
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();

RESET search_path;
RESET ROLE;
