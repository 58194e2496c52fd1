-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Verifiers that lately fetched a tenant's JWK Set, under pseudonyms of the day: per tenant a sample of those with the smallest ones.
-- Written at most every few minutes per verifier; no decision but the time of a rotation depends on it (keys/adoption).
CREATE TABLE public.jwks_clients (
    tenant_id uuid        NOT NULL REFERENCES public.tenants (id),
    client    bigint      NOT NULL,
    set_at    timestamptz NOT NULL, -- since when the set that it was served last was in effect; the epoch: it keeps asking with an older one
    seen_at   timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, client),
    CONSTRAINT jwks_clients_client CHECK (client >= 0),
    CONSTRAINT jwks_clients_representable CHECK (LEAST(set_at, seen_at) >= '0001-01-01Z' AND GREATEST(set_at, seen_at) < '10000-01-01Z')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX jwks_clients_by_age ON public.jwks_clients (seen_at);
-- Verifiers that keep asking with an old set.
CREATE INDEX jwks_clients_behind ON public.jwks_clients (tenant_id) WHERE set_at = timestamptz '1970-01-01 00:00:00+00';

GRANT SELECT, INSERT, UPDATE, DELETE ON public.jwks_clients TO keyward_platform;
GRANT SELECT ON public.jwks_clients TO keyward_app;

ALTER TABLE public.jwks_clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.jwks_clients FORCE ROW LEVEL SECURITY;
CREATE POLICY every_tenant ON public.jwks_clients TO keyward_platform USING (true) WITH CHECK (true);
CREATE POLICY one_tenant ON public.jwks_clients TO keyward_app
    USING (tenant_id = nullif(current_setting('keyward.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('keyward.tenant_id', true), '')::uuid);

RESET search_path;
RESET ROLE;
