-- +goose Up
SET LOCAL ROLE keyward_owner;

-- What a text can be found by: the three characters at each place of it, fewer at its end.
CREATE FUNCTION keyward_pieces(whole text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_to_tsvector(ARRAY(SELECT substr(whole, i, 3) FROM generate_series(1, length(whole)) AS i));

-- The texts that may have a part in them: those that have all of its pieces or, if it is shorter than one, a piece that begins with it.
CREATE FUNCTION keyward_pieces_of(part text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT string_agg('''' || replace(replace(substr(part, i, 3), '\', '\\'), '''', '''''') || CASE WHEN length(part) < 3 THEN ''':*' ELSE '''' END, ' & ')::tsquery
        FROM generate_series(1, GREATEST(1, length(part) - 2)) AS i);

-- Tenants by any part of their slug or name: a search costs by how many have it. It takes no extension (pg_trgm would do the same),
-- which not every login may create. What waits to be sorted in is kept short, because a search reads all of it. No statistics:
-- plans are to be the same in every database.
CREATE INDEX tenants_by_pieces ON tenants USING gin (keyward_pieces(lower(slug || ' ' || name))) WITH (gin_pending_list_limit = 64);
ALTER INDEX tenants_by_pieces ALTER COLUMN 1 SET STATISTICS 0;

-- Lists of the live tenants, and of those of a status, without a look at the others. Read backward: newest first. Written at their end,
-- which leaves no half-empty pages as an index from the newest does.
CREATE INDEX tenants_live_created ON tenants (created_at, id) WHERE status <> 'deleted';
CREATE INDEX tenants_by_status ON tenants (status, created_at, id);
DROP INDEX tenants_created;

RESET ROLE;
