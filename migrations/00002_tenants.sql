-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE public.tenants (
    id                                  uuid PRIMARY KEY,
    slug                                text          NOT NULL,
    name                                text          NOT NULL DEFAULT '',
    issuer                              text,
    -- The issuer in the form in which it must be unique (tenant/namespace.go): host
    -- in lower case, without default port and final slash; below the public URL only
    -- the path. NULL: the tenant has no issuer of its own, and has /t/{slug}.
    issuer_name                         text,
    custom_domain                       text,
    -- The tenant's members of its discovery documents (OpenID Connect Discovery
    -- 1.0 section 3, RFC 8414 section 2). NULL: none. Stored byte for byte,
    -- because entity tags are computed from it.
    metadata                            json,
    -- A further path of the JWK Set, below the issuer and on the custom domain, and
    -- further response headers of it, by name (tenant/publishing.go). NULL: none.
    jwks_path                           text,
    jwks_headers                        json,
    status                              text          NOT NULL DEFAULT 'active',
    jwks_max_age_seconds                integer       NOT NULL DEFAULT 300,
    jwks_stale_while_revalidate_seconds integer       NOT NULL DEFAULT 60,
    jwks_stale_if_error_seconds         integer       NOT NULL DEFAULT 86400,
    clock_skew_seconds                  integer       NOT NULL DEFAULT 60,
    -- The time until which a cache filled under earlier, longer settings may be fresh.
    cache_horizon                       timestamptz,
    not_before                          timestamptz,
    -- Freeze windows: the schedule starts no rotation inside one. The nth start,
    -- end and reason make the nth window; its end is outside of it.
    freeze_starts                       timestamptz[] NOT NULL DEFAULT '{}',
    freeze_ends                         timestamptz[] NOT NULL DEFAULT '{}',
    freeze_reasons                      text[]        NOT NULL DEFAULT '{}',
    -- Operations that need the approval of a second person.
    approval_required                   text[]        NOT NULL DEFAULT '{}',
    -- The head of the tenant's audit chain; audit_seq is also the tenant's version.
    audit_seq                           bigint        NOT NULL,
    audit_hash                          bytea         NOT NULL,
    -- The time of that event, so that the next one, whose time is read under the lock of
    -- this row, is not earlier. NULL: written without it.
    audit_at                            timestamptz,
    -- The last transaction that changed the tenant's public data. Gateways read
    -- tenants in this order (queries/fleet.sql). A row whose feed_xid is below the
    -- oldest running transaction is settled: every later change, of this row too,
    -- sorts after it.
    feed_xid                            xid8          NOT NULL DEFAULT '0',
    -- The rendered JWK Set (RFC 7517 section 5), so that a reader without a cache
    -- entry reads one row. A transaction that changes keys or policies writes it in
    -- the statement that moves the head of the chain. It repeats keys and policies:
    -- readers fall back to these when it is missing or out of date.
    jwks                                bytea,
    jwks_outline                        text, -- the keys of the set and the signing policies (keys/set.go)
    -- The transaction that wrote the set or found it up to date. The set is valid
    -- while this equals feed_xid.
    jwks_xid                            xid8,
    -- Slug and name with case folded by the program, in the same way on every server
    -- (tenant/search.go). NULL: written without it; then PostgreSQL's lower counts.
    search_text                         text,
    created_at                          timestamptz   NOT NULL,
    updated_at                          timestamptz   NOT NULL,
    deleted_at                          timestamptz,
    -- Authenticates names, status, settings and approval_required, by a key that the
    -- master key wraps (tenant/authority.go). A row without a valid code is refused.
    mac                                 bytea,

    -- Without a bounded repetition: PostgreSQL matches these by counting, 65 µs for
    -- each change of a row.
    CONSTRAINT tenants_slug_pattern CHECK (slug !~ '[^a-z0-9-]' AND char_length(slug) BETWEEN 1 AND 63
        AND left(slug, 1) <> '-' AND right(slug, 1) <> '-'),
    CONSTRAINT tenants_slug_is_no_id CHECK (char_length(replace(slug, '-', '')) <> 32 OR replace(slug, '-', '') ~ '[^0-9a-f]'),
    CONSTRAINT tenants_name_length CHECK (char_length(name) <= 200),
    CONSTRAINT tenants_issuer_length CHECK (char_length(issuer) BETWEEN 1 AND 500),
    CONSTRAINT tenants_issuer_name CHECK (char_length(issuer_name) BETWEEN 1 AND 600 AND (issuer_name IS NULL OR issuer IS NOT NULL)),
    CONSTRAINT tenants_custom_domain_form CHECK (custom_domain = lower(custom_domain) AND char_length(custom_domain) BETWEEN 1 AND 253),
    CONSTRAINT tenants_metadata CHECK (json_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384
        AND metadata -> 'issuer' IS NULL AND metadata -> 'jwks_uri' IS NULL AND metadata -> 'id_token_signing_alg_values_supported' IS NULL),
    CONSTRAINT tenants_jwks_path CHECK (char_length(jwks_path) BETWEEN 1 AND 200 AND jwks_path !~ '(^/|//|/$)' AND jwks_path !~ '[^A-Za-z0-9._~/-]'),
    CONSTRAINT tenants_jwks_headers CHECK (json_typeof(jwks_headers) = 'object' AND octet_length(jwks_headers::text) <= 8192),
    CONSTRAINT tenants_status CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT tenants_deleted_at CHECK ((deleted_at IS NOT NULL) = (status = 'deleted')),
    CONSTRAINT tenants_platform_stays CHECK (slug <> 'platform' OR status = 'active'),
    CONSTRAINT tenants_jwks_max_age CHECK (jwks_max_age_seconds BETWEEN 0 AND 604800),
    CONSTRAINT tenants_jwks_stale_while_revalidate CHECK (jwks_stale_while_revalidate_seconds BETWEEN 0 AND 604800),
    CONSTRAINT tenants_jwks_stale_if_error CHECK (jwks_stale_if_error_seconds BETWEEN 0 AND 2592000),
    CONSTRAINT tenants_clock_skew CHECK (clock_skew_seconds BETWEEN 0 AND 600),
    CONSTRAINT tenants_freezes_count CHECK (cardinality(freeze_starts) <= 50
        AND cardinality(freeze_ends) = cardinality(freeze_starts) AND cardinality(freeze_reasons) = cardinality(freeze_starts)),
    CONSTRAINT tenants_freezes_whole CHECK (array_position(freeze_starts, NULL) IS NULL
        AND array_position(freeze_ends, NULL) IS NULL AND array_position(freeze_reasons, NULL) IS NULL),
    CONSTRAINT tenants_approval_required CHECK (
        approval_required <@ ARRAY['revoke', 'revoke_all', 'import', 'purge', 'delete', 'policy', 'api_keys', 'settings'] AND cardinality(approval_required) <= 8),
    CONSTRAINT tenants_audit_head CHECK (audit_seq >= 1 AND octet_length(audit_hash) = 32),
    CONSTRAINT tenants_representable CHECK (LEAST(cache_horizon, not_before, audit_at, created_at, updated_at, deleted_at) >= '0001-01-01Z'
        AND GREATEST(cache_horizon, not_before, audit_at, created_at, updated_at, deleted_at) < '10000-01-01Z'
        AND '0001-01-01Z' <= ALL (freeze_starts) AND '10000-01-01Z' > ALL (freeze_starts)
        AND '0001-01-01Z' <= ALL (freeze_ends) AND '10000-01-01Z' > ALL (freeze_ends))
) WITH (
    -- Every event moves the head of the chain, which no index contains. With free
    -- space on its page the row stays there, and no index is written (HOT).
    fillfactor = 80,
    -- Vacuum by the number of rows written and not by a share of the table: a fifth
    -- of a billion rows would take years.
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);

-- Does not compress. Stored in the row while it is small, otherwise outside, where
-- a move of the head does not write it again.
ALTER TABLE public.tenants ALTER COLUMN jwks SET STORAGE EXTERNAL;

-- keyward_pieces returns the trigrams of a text, with the shorter ones at its end.
CREATE FUNCTION public.keyward_pieces(whole text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN array_to_tsvector(ARRAY(SELECT substr(whole, i, 3) FROM generate_series(1, length(whole)) AS i));

-- keyward_pieces_of returns a query for texts that may contain part: those with all
-- of its trigrams or, if it is shorter than one, with a piece that begins with it. The
-- backslash is a number: how PostgreSQL prints one depends on a setting.
CREATE FUNCTION public.keyward_pieces_of(part text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT string_agg('''' || replace(replace(substr(part, i, 3), chr(92), repeat(chr(92), 2)), '''', '''''') || CASE WHEN length(part) < 3 THEN ''':*' ELSE '''' END, ' & ')::tsquery
        FROM generate_series(1, GREATEST(1, length(part) - 2)) AS i);

-- The slug, domain and issuer of a deleted tenant are free again.
CREATE UNIQUE INDEX tenants_live_slug ON public.tenants (slug) WHERE status <> 'deleted';
CREATE UNIQUE INDEX tenants_live_custom_domain ON public.tenants (custom_domain) WHERE status <> 'deleted';
-- Issuers, also those that follow from slugs. A row that was written without its
-- issuer_name counts with an approximation of it.
CREATE UNIQUE INDEX tenants_live_issuer ON public.tenants
    (COALESCE(issuer_name, lower(rtrim(issuer, '/')), '/t/' || slug)) WHERE status <> 'deleted';
CREATE INDEX tenants_issuer_host ON public.tenants (substring(issuer_name FROM '^https?://([^/:]+)'))
    WHERE status <> 'deleted' AND issuer_name IS NOT NULL;
CREATE INDEX tenants_feed ON public.tenants (feed_xid, id);
-- Lists of the live tenants and of those with one status. Read backward, newest
-- first; written at the end, which leaves no half-empty pages.
CREATE INDEX tenants_live_created ON public.tenants (created_at, id) WHERE status <> 'deleted';
CREATE INDEX tenants_by_status ON public.tenants (status, created_at, id);
-- Tenants with many published keys: the lines of their outlines that begin with "key". For all others the index holds nothing.
CREATE INDEX tenants_large_set ON public.tenants (id) WHERE status <> 'deleted' AND length(jwks_outline) - length(replace(jwks_outline, chr(10) || 'key ', chr(10) || 'key')) > 12;
-- Search by any part of slug or name, at a cost by the number of matches. Without
-- the extension pg_trgm, which not every login may create. The pending list is
-- short, because every search reads all of it. No statistics: plans are to be the
-- same in every database.
CREATE INDEX tenants_by_pieces ON public.tenants USING gin (public.keyward_pieces(COALESCE(search_text, lower(slug || ' ' || name)))) WITH (gin_pending_list_limit = 64);
ALTER INDEX public.tenants_by_pieces ALTER COLUMN 1 SET STATISTICS 0;

-- +goose StatementBegin
-- keyward_guard_freezes checks the form of freeze windows.
CREATE FUNCTION public.keyward_guard_freezes() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF EXISTS (SELECT 1 FROM unnest(NEW.freeze_starts, NEW.freeze_ends, NEW.freeze_reasons) AS w (starts, ends, reason)
        WHERE w.ends <= w.starts OR w.ends > w.starts + interval '2160 hours' OR char_length(w.reason) > 200) THEN
        PERFORM public.keyward_refuse('tenants_freezes_form', 'a freeze window ends after it starts, within 90 days, and its reason has at most 200 characters');
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_feed_order accepts only the current transaction as feed_xid.
CREATE FUNCTION public.keyward_guard_feed_order() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NEW.feed_xid <> pg_current_xact_id() THEN
        PERFORM public.keyward_refuse('tenants_feed_order', 'a tenant is fed in the order of the transactions that change it');
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_head_moves refuses a change that does not move the head of the
-- audit chain. The conditions are the trigger's.
CREATE FUNCTION public.keyward_guard_head_moves() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    PERFORM public.keyward_refuse('tenants_change_is_audited', 'a tenant does not change without an audit event');
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER tenants_freezes BEFORE INSERT OR UPDATE OF freeze_starts, freeze_ends, freeze_reasons ON public.tenants
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_freezes();
CREATE TRIGGER tenants_feed_order BEFORE UPDATE OF feed_xid ON public.tenants
    FOR EACH ROW WHEN (NEW.feed_xid <> OLD.feed_xid) EXECUTE FUNCTION public.keyward_guard_feed_order();
CREATE TRIGGER tenants_jwks_guard BEFORE UPDATE OF jwks, jwks_outline, jwks_xid ON public.tenants
    FOR EACH ROW WHEN (NEW.audit_seq = OLD.audit_seq
        AND (NEW.jwks, NEW.jwks_outline, NEW.jwks_xid) IS DISTINCT FROM (OLD.jwks, OLD.jwks_outline, OLD.jwks_xid))
    EXECUTE FUNCTION public.keyward_guard_head_moves();
CREATE TRIGGER tenants_never_deleted BEFORE DELETE OR TRUNCATE ON public.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();

RESET search_path;
RESET ROLE;
