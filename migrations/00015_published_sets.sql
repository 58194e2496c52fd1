-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Which state of each tenant lies in a store (package publish), and when it is to be written again: because that failed, or because the
-- signed set is about to expire. The store itself refuses what is older; these rows save work and show what lags.
CREATE TABLE public.published_sets (
    tenant_id     uuid        NOT NULL REFERENCES public.tenants (id),
    target        text        NOT NULL,
    epoch         bigint      NOT NULL, -- of version; 0 where nothing was published yet
    version       bigint      NOT NULL, -- the seq of the tenant's event; -1: nothing was published yet
    feed_xid      xid8        NOT NULL, -- of the tenant then: what is public has not changed while it is the same
    published_at  timestamptz NULL,
    due_at        timestamptz NOT NULL,
    failures      integer     NOT NULL,
    failing_since timestamptz NULL,
    error         text        NULL,

    PRIMARY KEY (tenant_id, target),
    CONSTRAINT published_sets_target CHECK (char_length(target) BETWEEN 1 AND 1024),
    CONSTRAINT published_sets_failing CHECK ((failures > 0) = (failing_since IS NOT NULL) AND (failures > 0) = (error IS NOT NULL)),
    CONSTRAINT published_sets_error CHECK (char_length(error) <= 300),
    CONSTRAINT published_sets_representable CHECK (LEAST(published_at, due_at, failing_since) >= '0001-01-01Z'
        AND GREATEST(published_at, due_at, failing_since) < '10000-01-01Z')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX published_sets_due ON public.published_sets (target, due_at);
CREATE INDEX published_sets_failing ON public.published_sets (target, failing_since) WHERE failures > 0;

-- How far the feed of changes was followed for each store.
CREATE TABLE public.publish_places (
    target       text        NOT NULL PRIMARY KEY,
    place        text        NOT NULL,
    caught_up_at timestamptz NULL, -- when the end of the feed was reached last

    CONSTRAINT publish_places_target CHECK (char_length(target) BETWEEN 1 AND 1024),
    CONSTRAINT publish_places_place CHECK (char_length(place) <= 200),
    CONSTRAINT publish_places_representable CHECK (caught_up_at >= '0001-01-01Z' AND caught_up_at < '10000-01-01Z')
);

GRANT SELECT, INSERT, UPDATE, DELETE ON public.published_sets TO keyward_platform;
GRANT SELECT, INSERT, UPDATE ON public.publish_places TO keyward_platform;

ALTER TABLE public.published_sets ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.published_sets FORCE ROW LEVEL SECURITY;
CREATE POLICY every_tenant ON public.published_sets TO keyward_platform USING (true) WITH CHECK (true);

RESET search_path;
RESET ROLE;
