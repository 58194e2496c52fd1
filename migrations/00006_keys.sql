-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Signing keys. The timestamps determine the state of a key; the column state
-- repeats it, and CHECK constraints keep the two equal.
CREATE TABLE public.keys (
    tenant_id             uuid        NOT NULL,
    kid                   text        NOT NULL,
    alg                   text        NOT NULL,
    -- Every algorithm that the key's tokens may have, alg first; NULL: alg alone. Some
    -- systems publish one key under one kid for several algorithms.
    algs                  text[],
    state                 text        NOT NULL,
    origin                text        NOT NULL,
    public_jwk            json,
    sealed_private        bytea,
    data_key_version      integer,
    created_at            timestamptz NOT NULL,
    published_at          timestamptz NOT NULL,
    activated_at          timestamptz,
    -- The act that made the key active; only 'scheduled' must respect the lead.
    activation            text,
    deprecated_at         timestamptz,
    -- No token signed with the key is accepted after this: its latest possible exp,
    -- whose signer may not have heard of the deprecation, plus skew. Known once the key stops signing; before that only if an earlier
    -- policy allowed longer tokens.
    token_horizon         timestamptz,
    expires_at            timestamptz,
    expired_at            timestamptz,
    revoked_at            timestamptz,
    revocation_reason     text,
    purged_at             timestamptz,
    last_signed_at        timestamptz,
    last_token_expires_at timestamptz,
    -- The seq of the audit event of the last move.
    state_event           bigint      NOT NULL,

    PRIMARY KEY (tenant_id, kid),
    FOREIGN KEY (tenant_id, alg) REFERENCES public.policies (tenant_id, alg),
    FOREIGN KEY (tenant_id, data_key_version) REFERENCES public.data_keys (tenant_id, version),

    -- Any string without control characters (RFC 7517 section 4.5). COLLATE "C" makes
    -- the class the same in every locale: the control characters of ASCII.
    CONSTRAINT keys_kid_pattern CHECK (octet_length(kid) BETWEEN 1 AND 256 AND kid !~ '[[:cntrl:]]' COLLATE "C"),
    CONSTRAINT keys_algs CHECK (algs IS NULL OR origin = 'imported' AND cardinality(algs) > 1 AND algs[1] = alg
        AND (algs <@ ARRAY['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] OR algs <@ ARRAY['EdDSA', 'Ed25519'])),
    CONSTRAINT keys_state CHECK (state IN ('standby', 'active', 'deprecated', 'expired', 'revoked', 'purged')),
    CONSTRAINT keys_origin CHECK (origin IN ('generated', 'imported')),
    CONSTRAINT keys_activation CHECK (activation IN
        ('scheduled', 'first', 'manual', 'revocation', 'fresh', 'revoke_all', 'import')),
    CONSTRAINT keys_revocation_reason CHECK (revocation_reason IN ('unspecified', 'compromised', 'superseded')),

    -- A private key exists exactly while the key can sign or is about to.
    CONSTRAINT keys_private_while_signing CHECK ((sealed_private IS NOT NULL) = (state IN ('standby', 'active'))),
    CONSTRAINT keys_data_key_with_private CHECK ((data_key_version IS NOT NULL) = (sealed_private IS NOT NULL)),
    CONSTRAINT keys_public_until_purged CHECK ((public_jwk IS NULL) = (state = 'purged')),

    CONSTRAINT keys_standby_times CHECK ((state = 'standby') =
        (activated_at IS NULL AND deprecated_at IS NULL AND revoked_at IS NULL)),
    CONSTRAINT keys_active_times CHECK ((state = 'active') =
        (activated_at IS NOT NULL AND deprecated_at IS NULL AND revoked_at IS NULL)),
    CONSTRAINT keys_deprecated_times CHECK ((state = 'deprecated') =
        (deprecated_at IS NOT NULL AND expired_at IS NULL AND revoked_at IS NULL)),
    CONSTRAINT keys_expired_times CHECK ((state = 'expired') = (expired_at IS NOT NULL AND purged_at IS NULL)),
    CONSTRAINT keys_revoked_times CHECK ((state = 'revoked') = (revoked_at IS NOT NULL AND purged_at IS NULL)),
    CONSTRAINT keys_purged_times CHECK ((state = 'purged') = (purged_at IS NOT NULL)),
    CONSTRAINT keys_one_way_out CHECK (num_nonnulls(expired_at, revoked_at) <= 1),
    CONSTRAINT keys_purged_after_leaving CHECK (purged_at IS NULL OR num_nonnulls(expired_at, revoked_at) = 1),
    CONSTRAINT keys_expired_after_deprecated CHECK (expired_at IS NULL OR deprecated_at IS NOT NULL),
    CONSTRAINT keys_activation_when_activated CHECK ((activation IS NOT NULL) = (activated_at IS NOT NULL)),
    CONSTRAINT keys_expiry_when_deprecated CHECK ((expires_at IS NOT NULL) = (deprecated_at IS NOT NULL)),
    CONSTRAINT keys_reason_when_revoked CHECK ((revocation_reason IS NOT NULL) = (revoked_at IS NOT NULL)),
    CONSTRAINT keys_public_only_is_imported CHECK (origin = 'imported' OR activated_at IS NOT NULL
        OR deprecated_at IS NULL),
    CONSTRAINT keys_times_in_order CHECK (published_at >= created_at
        AND activated_at >= published_at AND deprecated_at >= COALESCE(activated_at, published_at)
        AND expires_at >= deprecated_at AND expired_at >= deprecated_at
        AND revoked_at >= COALESCE(deprecated_at, activated_at, published_at)
        AND purged_at >= COALESCE(expired_at, revoked_at)),

    -- No token outlives its key.
    CONSTRAINT keys_horizon_when_deprecated CHECK (deprecated_at IS NULL OR activated_at IS NULL OR token_horizon IS NOT NULL),
    CONSTRAINT keys_no_token_outlives_key CHECK (expires_at >= token_horizon AND expired_at >= token_horizon),
    CONSTRAINT keys_representable CHECK (LEAST(created_at, published_at, activated_at, deprecated_at, token_horizon, expires_at, expired_at, revoked_at, purged_at, last_signed_at, last_token_expires_at) >= '0001-01-01Z'
        AND GREATEST(created_at, published_at, activated_at, deprecated_at, token_horizon, expires_at, expired_at, revoked_at, purged_at, last_signed_at, last_token_expires_at) < '10000-01-01Z')
) WITH (
    -- Free space for changes in place, of the times of the last signature.
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);

CREATE UNIQUE INDEX keys_one_active ON public.keys (tenant_id, alg) WHERE state = 'active';
CREATE UNIQUE INDEX keys_one_standby ON public.keys (tenant_id, alg) WHERE state = 'standby';
CREATE INDEX keys_by_age ON public.keys (tenant_id, created_at DESC, kid DESC);
CREATE INDEX keys_by_state ON public.keys (tenant_id, state, created_at DESC, kid DESC) WHERE state <> 'purged';
-- Who publishes a key of which only the kid is known, as that of a token that was found.
CREATE INDEX keys_published_kid ON public.keys (kid) WHERE state IN ('standby', 'active', 'deprecated');
CREATE INDEX keys_by_data_key ON public.keys (tenant_id, data_key_version) WHERE data_key_version IS NOT NULL;

-- +goose StatementBegin
-- keyward_guard_key_birth checks the state in which a key enters.
CREATE FUNCTION public.keyward_guard_key_birth() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NEW.state NOT IN ('standby', 'active', 'deprecated')
        OR (NEW.state = 'deprecated' AND (NEW.origin <> 'imported' OR NEW.activated_at IS NOT NULL))
        OR (NEW.state = 'active' AND NEW.activation NOT IN ('first', 'fresh', 'revoke_all', 'import')) THEN
        PERFORM public.keyward_refuse('keys_birth', 'a key enters as standby, which may become active at once by somebody''s act, '
            'or as deprecated when only its public part is imported');
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_key checks the transitions of a key and the conditions of each. It
-- reads policy and tenant together, and only the columns it needs, because mass
-- rotations move many keys.
CREATE FUNCTION public.keyward_guard_key() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    lead          integer;
    life          integer;
    cache_horizon timestamptz;
    frozen        boolean;
BEGIN
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('standby', 'active'), ('standby', 'revoked'),
        ('active', 'deprecated'), ('active', 'revoked'),
        ('deprecated', 'expired'), ('deprecated', 'revoked'),
        ('expired', 'purged'), ('revoked', 'purged')) THEN
        PERFORM public.keyward_refuse('keys_transition', 'no key moves from ' || OLD.state || ' to ' || NEW.state);
    END IF;
    IF (NEW.tenant_id, NEW.kid, NEW.alg, NEW.algs, NEW.origin, NEW.created_at, NEW.published_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.kid, OLD.alg, OLD.algs, OLD.origin, OLD.created_at, OLD.published_at)
        OR (OLD.activated_at IS NOT NULL AND (NEW.activated_at, NEW.activation) IS DISTINCT FROM (OLD.activated_at, OLD.activation))
        OR (OLD.deprecated_at IS NOT NULL AND (NEW.deprecated_at, NEW.token_horizon, NEW.expires_at)
            IS DISTINCT FROM (OLD.deprecated_at, OLD.token_horizon, OLD.expires_at))
        OR (OLD.expired_at IS NOT NULL AND NEW.expired_at IS DISTINCT FROM OLD.expired_at)
        OR (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at, NEW.revocation_reason) IS DISTINCT FROM (OLD.revoked_at, OLD.revocation_reason))
        OR (OLD.purged_at IS NOT NULL AND NEW.purged_at IS DISTINCT FROM OLD.purged_at)
        OR (NEW.public_jwk IS NOT NULL AND NEW.public_jwk::text IS DISTINCT FROM OLD.public_jwk::text)
        OR OLD.token_horizon > COALESCE(NEW.token_horizon, '-infinity') THEN
        PERFORM public.keyward_refuse('keys_history', 'what a key row says about the past never changes');
    END IF;
    IF NEW.state = OLD.state THEN
        IF NEW.state_event <> OLD.state_event THEN
            PERFORM public.keyward_refuse('keys_state_event', 'the event of the last move changes only with a move');
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state_event <= OLD.state_event THEN
        PERFORM public.keyward_refuse('keys_state_event', 'a move needs an audit event newer than the last one''s');
    END IF;
    IF NEW.state = 'active' AND NEW.activation = 'scheduled' THEN
        SELECT p.publish_lead_seconds, t.cache_horizon, cardinality(t.freeze_starts) > 0
            AND EXISTS (SELECT 1 FROM unnest(t.freeze_starts, t.freeze_ends) AS w (starts, ends)
                WHERE NEW.activated_at >= w.starts AND NEW.activated_at < w.ends)
        INTO lead, cache_horizon, frozen
        FROM public.policies p JOIN public.tenants t ON t.id = p.tenant_id
        WHERE p.tenant_id = NEW.tenant_id AND p.alg = NEW.alg;
        IF NEW.activated_at < NEW.published_at + make_interval(secs => lead) OR NEW.activated_at < cache_horizon THEN
            PERFORM public.keyward_refuse('keys_published_for_lead', 'the schedule promotes no key before it has been published for publish_lead_seconds');
        END IF;
        IF frozen THEN
            PERFORM public.keyward_refuse('keys_not_in_freeze', 'the schedule promotes no key inside a freeze window of its tenant');
        END IF;
    END IF;
    IF NEW.state = 'deprecated' THEN
        SELECT p.max_token_ttl_seconds + t.clock_skew_seconds INTO life
        FROM public.policies p JOIN public.tenants t ON t.id = p.tenant_id
        WHERE p.tenant_id = NEW.tenant_id AND p.alg = NEW.alg;
        IF NEW.token_horizon < NEW.deprecated_at + make_interval(secs => life) + public.keyward_signing_tail() THEN
            PERFORM public.keyward_refuse('keys_horizon_covers_tokens', 'token_horizon must be at least deprecated_at + max_token_ttl_seconds + clock_skew_seconds + 17 s');
        END IF;
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_key_audited checks at the end of a transaction that a move of a key
-- has its event: of this key, from and to these states, with the seq in state_event,
-- written by the same transaction. A key born active names the event of its
-- activation.
CREATE FUNCTION public.keyward_guard_key_audited() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.state_event = OLD.state_event THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM public.audit_events e WHERE e.tenant_id = NEW.tenant_id AND e.seq = NEW.state_event
        AND e.kid = NEW.kid AND left(e.action, 4) = 'key.' AND e.to_state = NEW.state AND e.xid = pg_current_xact_id()
        AND (TG_OP = 'INSERT' OR e.from_state = OLD.state)) THEN
        PERFORM public.keyward_refuse('keys_move_is_audited', 'a key does not move without an audit event');
    END IF;
    RETURN NULL;
END
$$;

-- keyward_guard_data_key_destroyed refuses to destroy a data key that still seals a
-- private key.
CREATE FUNCTION public.keyward_guard_data_key_destroyed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    -- Waits for transactions that seal with it: their foreign keys hold a lock.
    PERFORM 1 FROM public.data_keys WHERE tenant_id = NEW.tenant_id AND version = NEW.version FOR UPDATE;
    IF EXISTS (SELECT 1 FROM public.keys WHERE tenant_id = NEW.tenant_id AND data_key_version = NEW.version) THEN
        PERFORM public.keyward_refuse('data_keys_still_seals', 'the data key still seals private keys');
    END IF;
    RETURN NEW;
END
$$;

-- keyward_guard_key_sealed refuses a private key sealed with a destroyed data key. It
-- runs after the foreign key has its lock (triggers run by name, and those of
-- foreign keys begin with RI_), so a destruction is either seen here or waits.
CREATE FUNCTION public.keyward_guard_key_sealed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF EXISTS (SELECT 1 FROM public.data_keys WHERE tenant_id = NEW.tenant_id AND version = NEW.data_key_version AND destroyed_at IS NOT NULL) THEN
        PERFORM public.keyward_refuse('keys_data_key_is_live', 'nothing is sealed with a destroyed data key');
    END IF;
    RETURN NULL;
END
$$;

-- keyward_guard_horizon checks that a shorter token lifetime leaves the horizon of
-- tokens with the longer one.
CREATE FUNCTION public.keyward_guard_horizon() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    skew integer;
BEGIN
    SELECT clock_skew_seconds INTO skew FROM public.tenants WHERE id = NEW.tenant_id;
    IF EXISTS (SELECT 1 FROM public.keys WHERE tenant_id = NEW.tenant_id AND alg = NEW.alg AND state = 'active'
        AND COALESCE(token_horizon, '-infinity') < NEW.updated_at + make_interval(secs => OLD.max_token_ttl_seconds + skew) + public.keyward_signing_tail()) THEN
        PERFORM public.keyward_refuse('keys_horizon_covers_earlier_tokens', 'tokens of the longer lifetime may still be about');
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- A standby may always be born.
CREATE TRIGGER keys_birth BEFORE INSERT ON public.keys
    FOR EACH ROW WHEN (NEW.state <> 'standby') EXECUTE FUNCTION public.keyward_guard_key_birth();
-- All columns but those of sealing and of the last signature, which are written often
-- and which the guard does not check.
CREATE TRIGGER keys_guard BEFORE UPDATE OF tenant_id, kid, alg, algs, state, origin, public_jwk, created_at, published_at, activated_at, activation,
        deprecated_at, token_horizon, expires_at, expired_at, revoked_at, revocation_reason, purged_at, state_event ON public.keys
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_key();
CREATE TRIGGER keys_never_deleted BEFORE DELETE OR TRUNCATE ON public.keys
    FOR EACH STATEMENT EXECUTE FUNCTION public.keyward_guard_never_deleted();
CREATE CONSTRAINT TRIGGER keys_audited AFTER INSERT OR UPDATE OF state, state_event ON public.keys
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.keyward_guard_key_audited();
CREATE TRIGGER keys_sealed AFTER INSERT OR UPDATE OF data_key_version ON public.keys
    FOR EACH ROW WHEN (NEW.data_key_version IS NOT NULL) EXECUTE FUNCTION public.keyward_guard_key_sealed();
CREATE TRIGGER data_keys_destroyed BEFORE UPDATE OF destroyed_at ON public.data_keys
    FOR EACH ROW WHEN (NEW.destroyed_at IS NOT NULL AND OLD.destroyed_at IS NULL) EXECUTE FUNCTION public.keyward_guard_data_key_destroyed();
CREATE TRIGGER policies_horizon BEFORE UPDATE OF tenant_id, alg, max_token_ttl_seconds ON public.policies
    FOR EACH ROW WHEN (NEW.max_token_ttl_seconds < OLD.max_token_ttl_seconds) EXECUTE FUNCTION public.keyward_guard_horizon();

RESET search_path;
RESET ROLE;
