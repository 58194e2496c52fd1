-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- The running processes, one row each, written with each heartbeat. One that was not heard
-- of for 10 s cannot sign any more, and is not live. Times are the database's.
CREATE TABLE public.processes (
    id                        uuid PRIMARY KEY, -- of one start
    name                      text        NOT NULL,
    kind                      text        NOT NULL,
    version                   text        NOT NULL,
    address                   text        NOT NULL,
    master_keys               text[]      NOT NULL, -- versions that it can open; '*': the KMS has them
    clock_offset_microseconds bigint      NOT NULL,
    started_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    heard_at                  timestamptz NOT NULL DEFAULT clock_timestamp(),
    confirmed_until           timestamptz NOT NULL, -- it serves every change that was committed before

    CONSTRAINT processes_master_keys CHECK (array_position(master_keys, NULL) IS NULL),
    CONSTRAINT processes_kind CHECK (kind IN ('serve', 'worker')),
    CONSTRAINT processes_length CHECK (char_length(name) <= 300 AND char_length(version) <= 100 AND char_length(address) <= 300),
    CONSTRAINT processes_representable CHECK (LEAST(started_at, heard_at, confirmed_until) >= '0001-01-01Z'
        AND GREATEST(started_at, heard_at, confirmed_until) < '10000-01-01Z')
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON public.processes TO keyward_platform;

RESET search_path;
RESET ROLE;
