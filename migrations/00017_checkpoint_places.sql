-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- When a worker last wrote a checkpoint into each place of KEYWARD_CHECKPOINTS. The place itself need not be readable, and
-- whoever asks is another process than the one that wrote.
CREATE TABLE public.checkpoint_places (
    target      text        NOT NULL PRIMARY KEY,
    tried_since timestamptz NOT NULL, -- the first attempt
    written_at  timestamptz NULL,     -- NULL: none was written yet
    failures    integer     NOT NULL, -- attempts since
    error       text        NULL,     -- of the last of them

    CONSTRAINT checkpoint_places_target CHECK (char_length(target) BETWEEN 1 AND 1024),
    CONSTRAINT checkpoint_places_failing CHECK ((failures > 0) = (error IS NOT NULL)),
    CONSTRAINT checkpoint_places_tried CHECK (written_at IS NOT NULL OR failures > 0),
    CONSTRAINT checkpoint_places_error CHECK (char_length(error) <= 300),
    CONSTRAINT checkpoint_places_representable CHECK (LEAST(tried_since, written_at) >= '0001-01-01Z' AND GREATEST(tried_since, written_at) < '10000-01-01Z')
);

GRANT SELECT, INSERT, UPDATE ON public.checkpoint_places TO keyward_platform;

RESET search_path;
RESET ROLE;
