-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Each run of keyward recover begins an epoch. Cursors of feeds name the epoch in
-- which they were given: what they count from may have been lost in a restore.
CREATE TABLE public.recoveries (
    epoch    bigint PRIMARY KEY,
    at       timestamptz NOT NULL,
    operator text        NOT NULL,
    mac      bytea, -- authenticates the row (tenant/authority.go)

    CONSTRAINT recoveries_epoch CHECK (epoch >= 1),
    CONSTRAINT recoveries_representable CHECK (at >= '0001-01-01Z' AND at < '10000-01-01Z')
);

GRANT SELECT, INSERT ON public.recoveries TO keyward_platform;
GRANT SELECT ON public.recoveries TO keyward_app;

RESET search_path;
RESET ROLE;
