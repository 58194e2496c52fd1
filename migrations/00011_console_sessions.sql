-- +goose Up
SET LOCAL ROLE keyward_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Who is signed in to the web console. The token is known only to the browser; what a session may do is decided anew for each
-- request, by its API key or, for somebody of the identity provider, by the role of the token that was verified at sign-in.
CREATE TABLE public.console_sessions (
    token_hash   bytea PRIMARY KEY,
    api_key_id   uuid REFERENCES public.api_keys (id),
    subject      text,
    subject_name text,
    role         text,
    of_tenant    uuid REFERENCES public.tenants (id),
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    mac          bytea, -- authenticates all but last_seen_at (tenant/authority.go)

    CONSTRAINT console_sessions_token_hash CHECK (octet_length(token_hash) = 32),
    CONSTRAINT console_sessions_credential CHECK ((api_key_id IS NULL) = (subject IS NOT NULL)),
    CONSTRAINT console_sessions_subject CHECK (
        (subject IS NULL) = (subject_name IS NULL) AND (subject IS NULL) = (role IS NULL) AND (subject IS NOT NULL OR of_tenant IS NULL)),
    CONSTRAINT console_sessions_subject_length CHECK (char_length(subject) <= 1000 AND char_length(subject_name) <= 200),
    CONSTRAINT console_sessions_role CHECK (role IN
        ('platform_admin', 'platform_auditor', 'tenant_admin', 'tenant_signer', 'tenant_auditor', 'tenant_verifier')),
    CONSTRAINT console_sessions_role_has_its_tenant CHECK ((of_tenant IS NOT NULL) = (role IS NOT NULL AND left(role, 7) = 'tenant_')),
    CONSTRAINT console_sessions_times CHECK (created_at <= last_seen_at AND created_at < expires_at),
    CONSTRAINT console_sessions_representable CHECK (LEAST(created_at, last_seen_at, expires_at) >= '0001-01-01Z'
        AND GREATEST(created_at, last_seen_at, expires_at) < '10000-01-01Z')
);

CREATE INDEX console_sessions_by_api_key ON public.console_sessions (api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX console_sessions_by_subject ON public.console_sessions (subject) WHERE subject IS NOT NULL;
CREATE INDEX console_sessions_by_end ON public.console_sessions (expires_at);

-- No tenant's role reads it: a session is found before its tenant is known.
GRANT SELECT, INSERT, DELETE ON public.console_sessions TO keyward_platform;
GRANT UPDATE (last_seen_at) ON public.console_sessions TO keyward_platform;

RESET search_path;
RESET ROLE;
