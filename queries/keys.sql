-- name: InsertKeys :execrows
-- Empty texts, the epoch and version 0 stand for NULL.
INSERT INTO keys (tenant_id, kid, alg, algs, state, origin, public_jwk, sealed_private, data_key_version, created_at, published_at,
    activated_at, activation, deprecated_at, expires_at, state_event)
SELECT m.tenant_id, m.kid, m.alg, NULLIF(string_to_array(m.alg_list, ','), '{}'), m.state, m.origin, m.public_jwk::json, NULLIF(m.sealed_private, ''::bytea), NULLIF(m.data_key_version, 0),
    m.created_at, m.created_at, NULLIF(m.activated_at, 'epoch'::timestamptz), NULLIF(m.activation, ''),
    NULLIF(m.deprecated_at, 'epoch'::timestamptz), NULLIF(m.expires_at, 'epoch'::timestamptz), m.state_event
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@algs::text[]) AS alg,
             unnest(@alg_lists::text[]) AS alg_list, unnest(@states::text[]) AS state, unnest(@origins::text[]) AS origin, unnest(@public_jwks::text[]) AS public_jwk,
             unnest(@sealed_privates::bytea[]) AS sealed_private, unnest(@data_key_versions::integer[]) AS data_key_version,
             unnest(@created_ats::timestamptz[]) AS created_at, unnest(@activated_ats::timestamptz[]) AS activated_at,
             unnest(@activations::text[]) AS activation, unnest(@deprecated_ats::timestamptz[]) AS deprecated_at,
             unnest(@expires_ats::timestamptz[]) AS expires_at, unnest(@state_events::bigint[]) AS state_event) AS m;

-- name: ActivateKeys :execrows
UPDATE keys
SET state = 'active', activated_at = m.at, activation = m.activation, state_event = m.state_event
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@ats::timestamptz[]) AS at,
             unnest(@activations::text[]) AS activation, unnest(@state_events::bigint[]) AS state_event) AS m
WHERE keys.tenant_id = m.tenant_id AND keys.kid = m.kid AND keys.state = 'standby';

-- name: DeprecateKeys :execrows
-- The statement that ends the use of a private key erases it.
UPDATE keys
SET state = 'deprecated', deprecated_at = m.at, token_horizon = m.token_horizon, expires_at = m.expires_at,
    sealed_private = NULL, data_key_version = NULL, state_event = m.state_event
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@ats::timestamptz[]) AS at,
             unnest(@token_horizons::timestamptz[]) AS token_horizon, unnest(@expires_ats::timestamptz[]) AS expires_at,
             unnest(@state_events::bigint[]) AS state_event) AS m
WHERE keys.tenant_id = m.tenant_id AND keys.kid = m.kid AND keys.state = 'active';

-- name: ExpireKeys :execrows
UPDATE keys
SET state = 'expired', expired_at = m.at, state_event = m.state_event
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@ats::timestamptz[]) AS at,
             unnest(@state_events::bigint[]) AS state_event) AS m
WHERE keys.tenant_id = m.tenant_id AND keys.kid = m.kid AND keys.state = 'deprecated';

-- name: RevokeKeys :execrows
UPDATE keys
SET state = 'revoked', revoked_at = m.at, revocation_reason = m.reason, sealed_private = NULL, data_key_version = NULL,
    state_event = m.state_event
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@ats::timestamptz[]) AS at,
             unnest(@reasons::text[]) AS reason, unnest(@state_events::bigint[]) AS state_event) AS m
WHERE keys.tenant_id = m.tenant_id AND keys.kid = m.kid AND keys.state IN ('standby', 'active', 'deprecated');

-- name: PurgeKeys :execrows
UPDATE keys
SET state = 'purged', purged_at = m.at, public_jwk = NULL, state_event = m.state_event
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@ats::timestamptz[]) AS at,
             unnest(@state_events::bigint[]) AS state_event) AS m
WHERE keys.tenant_id = m.tenant_id AND keys.kid = m.kid AND keys.state IN ('expired', 'revoked');

-- name: RaiseTokenHorizon :exec
-- For a change to a shorter token lifetime: tokens with the longer one may still be valid.
UPDATE keys
SET token_horizon = GREATEST(token_horizon, @token_horizon::timestamptz)
WHERE tenant_id = @tenant_id AND alg = ANY (@algs::text[]) AND state = 'active';

-- name: CountPurgedKeys :one
-- The purged keys of a tenant that were made since a time, counted up to a limit.
SELECT count(*) FROM (
    SELECT FROM keys
    WHERE tenant_id = @tenant_id AND created_at > @since::timestamptz AND state = 'purged'
    LIMIT @most::integer) AS purged;

-- name: UnpurgedKeysOfTenants :many
SELECT tenant_id, kid, alg, algs, state, origin, public_jwk, created_at, published_at, activated_at, activation, deprecated_at, token_horizon,
    expires_at, expired_at, revoked_at, revocation_reason, purged_at, last_signed_at, last_token_expires_at
FROM keys
WHERE tenant_id = ANY (@tenant_ids::uuid[]) AND state <> 'purged'
ORDER BY tenant_id, created_at DESC, kid DESC;

-- name: GetKey :one
SELECT tenant_id, kid, alg, algs, state, origin, public_jwk, created_at, published_at, activated_at, activation, deprecated_at, token_horizon,
    expires_at, expired_at, revoked_at, revocation_reason, purged_at, last_signed_at, last_token_expires_at
FROM keys
WHERE tenant_id = @tenant_id AND kid = @kid;

-- name: PublishedKeysOfTenant :many
-- What the schedule depends on: keys that are gone change nothing for the others.
SELECT tenant_id, kid, alg, algs, state, origin, public_jwk, created_at, published_at, activated_at, activation, deprecated_at, token_horizon,
    expires_at, expired_at, revoked_at, revocation_reason, purged_at, last_signed_at, last_token_expires_at
FROM keys
WHERE tenant_id = @tenant_id AND state IN ('standby', 'active', 'deprecated')
ORDER BY created_at DESC, kid DESC;

-- name: PublishedKeysOfTenants :many
-- PublishedKeysOfTenant of several tenants, without the keys themselves.
SELECT tenant_id, kid, alg, algs, state, origin, created_at, published_at, activated_at, activation, deprecated_at, token_horizon,
    expires_at, expired_at, revoked_at, revocation_reason, purged_at, last_signed_at, last_token_expires_at
FROM keys
WHERE tenant_id = ANY (@tenant_ids::uuid[]) AND state IN ('standby', 'active', 'deprecated')
ORDER BY tenant_id, created_at DESC, kid DESC;

-- name: TenantsWithPublishedKey :many
-- The live tenants that publish a key with a kid: more than one only if they imported it.
SELECT k.tenant_id
FROM keys k
JOIN tenants t ON t.id = k.tenant_id
WHERE k.kid = @kid AND k.state IN ('standby', 'active', 'deprecated') AND t.status <> 'deleted'
ORDER BY k.tenant_id
LIMIT @page_size::integer;

-- name: ListKeys :many
-- Newest first, after the cursor. A state leads to ListKeysInState, unless it is that of most keys of an old tenant, purged.
SELECT tenant_id, kid, alg, algs, state, origin, public_jwk, created_at, published_at, activated_at, activation, deprecated_at, token_horizon,
    expires_at, expired_at, revoked_at, revocation_reason, purged_at, last_signed_at, last_token_expires_at
FROM keys
WHERE tenant_id = @tenant_id
  AND (@state::text = '' OR state = @state::text)
  AND (@alg::text = '' OR alg = @alg::text OR @alg::text = ANY (algs))
  AND (created_at, kid) < (@before_created_at::timestamptz, @before_kid::text)
ORDER BY created_at DESC, kid DESC
LIMIT @page_size::integer;

-- name: ListKeysInState :many
-- ListKeys in one state but purged, by an index that has each state in the order of the list.
SELECT tenant_id, kid, alg, algs, state, origin, public_jwk, created_at, published_at, activated_at, activation, deprecated_at, token_horizon,
    expires_at, expired_at, revoked_at, revocation_reason, purged_at, last_signed_at, last_token_expires_at
FROM keys
WHERE tenant_id = @tenant_id AND state = @state::text AND state <> 'purged'
  AND (@alg::text = '' OR alg = @alg::text OR @alg::text = ANY (algs))
  AND (created_at, kid) < (@before_created_at::timestamptz, @before_kid::text)
ORDER BY created_at DESC, kid DESC
LIMIT @page_size::integer;

-- name: ListKeysValidAt :many
-- ListKeys that were published at a time: those that still are, and those that left since. The latter are looked for only if the tenant
-- has changed since.
SELECT k.tenant_id, k.kid, k.alg, k.algs, k.state, k.origin, k.public_jwk, k.created_at, k.published_at, k.activated_at, k.activation, k.deprecated_at, k.token_horizon,
    k.expires_at, k.expired_at, k.revoked_at, k.revocation_reason, k.purged_at, k.last_signed_at, k.last_token_expires_at
FROM keys k
WHERE k.tenant_id = @tenant_id AND k.kid = ANY (ARRAY(
    SELECT published.kid FROM keys published
    WHERE published.tenant_id = @tenant_id AND published.state IN ('standby', 'active', 'deprecated') AND published.published_at <= @valid_at::timestamptz
    UNION ALL
    (SELECT gone.kid FROM keys gone
    WHERE gone.tenant_id = @tenant_id AND (SELECT t.audit_at FROM tenants t WHERE t.id = @tenant_id) > @valid_at::timestamptz
      AND gone.published_at <= @valid_at::timestamptz AND COALESCE(gone.expired_at, gone.revoked_at) > @valid_at::timestamptz
      AND (@state::text = '' OR gone.state = @state::text) AND (@alg::text = '' OR gone.alg = @alg::text OR @alg::text = ANY (gone.algs))
      AND (gone.created_at, gone.kid) < (@before_created_at::timestamptz, @before_kid::text)
    ORDER BY gone.created_at DESC, gone.kid DESC LIMIT @page_size::integer)))
  AND (@state::text = '' OR k.state = @state::text) AND (@alg::text = '' OR k.alg = @alg::text OR @alg::text = ANY (k.algs))
  AND (k.created_at, k.kid) < (@before_created_at::timestamptz, @before_kid::text)
ORDER BY k.created_at DESC, k.kid DESC
LIMIT @page_size::integer;

-- name: GetSealedKey :one
-- The only query that reads a private key. It also reads the wrapped data key, and
-- whether the row agrees with the history: an earlier row put back does not.
SELECT k.alg, k.public_jwk, k.sealed_private, k.data_key_version, d.wrapped, d.master_key_id,
    (EXISTS (SELECT 1 FROM audit_events e
             WHERE e.tenant_id = k.tenant_id AND e.seq = k.state_event AND e.kid = k.kid AND e.to_state = k.state)
     AND NOT EXISTS (SELECT 1 FROM audit_events e
                     WHERE e.tenant_id = k.tenant_id AND e.kid = k.kid AND e.seq > k.state_event AND e.seq <= 256 AND e.to_state IS NOT NULL)
     AND NOT EXISTS (SELECT 1 FROM audit_events e
                     WHERE e.tenant_id = k.tenant_id AND e.kid = k.kid AND e.seq > k.state_event AND e.seq > 256 AND e.to_state IS NOT NULL))::boolean AS is_latest
FROM keys k
LEFT JOIN data_keys d ON d.tenant_id = k.tenant_id AND d.version = k.data_key_version
WHERE k.tenant_id = @tenant_id AND k.kid = @kid AND k.state = 'active';

-- name: RecordSignatures :many
-- Returns the keys that were recorded. It waits for nobody: a key that a change has locked is left for the next time. In the order of
-- the primary key, as every statement that locks several keys.
WITH used AS (
    SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@kids::text[]) AS kid, unnest(@signed_ats::timestamptz[]) AS signed_at,
           unnest(@token_expires_ats::timestamptz[]) AS token_expires_at
), m AS (
    SELECT keys.tenant_id, keys.kid, used.signed_at, used.token_expires_at
    FROM keys JOIN used ON keys.tenant_id = used.tenant_id AND keys.kid = used.kid
    ORDER BY keys.tenant_id, keys.kid
    FOR NO KEY UPDATE OF keys SKIP LOCKED
)
UPDATE keys
SET last_signed_at = GREATEST(keys.last_signed_at, m.signed_at),
    last_token_expires_at = GREATEST(keys.last_token_expires_at, NULLIF(m.token_expires_at, 'epoch'::timestamptz))
FROM m
WHERE keys.tenant_id = m.tenant_id AND keys.kid = m.kid
RETURNING keys.tenant_id, keys.kid;

-- name: ListSealedKeys :many
-- Every private key of a tenant, to seal them with a new data key.
SELECT kid, sealed_private, data_key_version FROM keys WHERE tenant_id = @tenant_id AND sealed_private IS NOT NULL ORDER BY kid;

-- name: ResealKeys :execrows
UPDATE keys
SET sealed_private = m.sealed_private, data_key_version = @new_version::integer
FROM (SELECT unnest(@kids::text[]) AS kid, unnest(@sealed_privates::bytea[]) AS sealed_private) AS m
WHERE keys.tenant_id = @tenant_id AND keys.kid = m.kid AND keys.sealed_private IS NOT NULL;

-- name: ListKeysEver :many
-- Every key a tenant ever had, and whether its private key still exists.
SELECT kid, alg, algs, origin, public_jwk, (sealed_private IS NOT NULL)::boolean AS sealed, activated_at, deprecated_at, revoked_at
FROM keys
WHERE tenant_id = @tenant_id
ORDER BY created_at, kid;

-- name: ListStrayKeys :many
-- Keys whose row disagrees with the history: it was changed by hand.
SELECT k.kid
FROM keys k
WHERE k.tenant_id = @tenant_id
  AND NOT (EXISTS (SELECT 1 FROM audit_events e
                   WHERE e.tenant_id = k.tenant_id AND e.seq = k.state_event AND e.kid = k.kid AND e.to_state = k.state)
           AND NOT EXISTS (SELECT 1 FROM audit_events e
                           WHERE e.tenant_id = k.tenant_id AND e.kid = k.kid AND e.seq > k.state_event AND e.seq <= 256 AND e.to_state IS NOT NULL)
           AND NOT EXISTS (SELECT 1 FROM audit_events e
                           WHERE e.tenant_id = k.tenant_id AND e.kid = k.kid AND e.seq > k.state_event AND e.seq > 256 AND e.to_state IS NOT NULL))
ORDER BY k.kid;
