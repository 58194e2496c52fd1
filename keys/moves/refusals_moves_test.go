package moves

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

// moveWith is a move with its event, some columns of which differ.
func moveWith(to keys.State, differ columns) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error {
		r, err := a.read(id, "kid")
		if err != nil {
			return err
		}
		if r["state_event"], err = a.happen(id, moved("kid", keys.State(r["state"].(string)), to)); err != nil {
			return err
		}
		a.settle(r, to)
		for column, value := range differ {
			r[column] = value
		}
		return a.update(r)
	}
}

func alter(set string) func(*act, uuid.UUID) error {
	return sql("UPDATE keys SET " + set + " WHERE tenant_id = {id}")
}

// The policy of these tests asks for a lead of a day; caches of the tenant
// keep a JWKS for 300 + 60 seconds, and clocks may differ by 60.
func TestDatabaseRefusesMoves(t *testing.T) {
	p := newPSQL(t)
	lead := p.at.Add(24 * time.Hour)
	scheduled := func(at time.Time) func(*act, uuid.UUID) error {
		return moveWith(keys.Active, columns{"activated_at": at, "activation": "scheduled"})
	}
	held := func(at time.Time) func(*act, uuid.UUID) error { // by caches that were told to wait for longer
		return func(a *act, id uuid.UUID) error {
			_, err := a.change(id, audit.Event{}, ", cache_horizon = created_at + interval '3 days'")
			return errors.Join(err, scheduled(at)(a, id))
		}
	}
	all := []refusal{
		{"promoted before the lead", "keys_published_for_lead", keys.Standby, scheduled(lead.Add(-time.Microsecond))},
		{"promoted at the lead", "", keys.Standby, scheduled(lead)},
		{"promoted before old caches run out", "keys_published_for_lead", keys.Standby, held(lead)},
		{"promoted when old caches have run out", "", keys.Standby, held(p.at.Add(72 * time.Hour))},
		{"horizon too near", "keys_horizon_covers_tokens", keys.Active, moveWith(keys.Deprecated, columns{
			"token_horizon": deprecatedAt(p.at).Add(24*time.Hour + time.Minute + keys.SigningTail - time.Microsecond),
		})},
		{"horizon forgotten on the way", "keys_history", keys.Active, func(a *act, id uuid.UUID) error {
			return errors.Join(alter("token_horizon = activated_at + interval '6 days'")(a, id),
				moveWith(keys.Deprecated, columns{"token_horizon": deprecatedAt(p.at).Add(48 * time.Hour)})(a, id))
		}},
		{"horizon taken back", "keys_history", keys.Active, func(a *act, id uuid.UUID) error {
			return errors.Join(alter("token_horizon = activated_at + interval '6 days'")(a, id), alter("token_horizon = NULL")(a, id))
		}},
		{"an event without a move", "keys_state_event", keys.Active, alter("state_event = state_event + 1")},
		{"sealed with a destroyed data key", "keys_data_key_is_live", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(sql("UPDATE data_keys SET destroyed_at = now(), wrapped = NULL, master_key_id = NULL, is_current = false WHERE tenant_id = {id}")(a, id),
				a.enter(a.born(id, "other", keys.Standby)))
		}},
	}
	for _, how := range []string{"manual", "revocation", "fresh", "revoke_all", "import", "first"} {
		all = append(all, refusal{how + " before the lead", "", keys.Standby, moveWith(keys.Active, columns{"activated_at": p.at, "activation": how})})
	}
	for _, how := range []string{"first", "fresh", "revoke_all", "import"} {
		all = append(all, refusal{"born active: " + how, "", keys.Born, enter(keys.Active, columns{"activated_at": p.at, "activation": how})})
	}
	for _, set := range []string{"kid = 'b'", "alg = 'RS256'", "origin = 'imported'", "created_at = created_at - interval '1s'", "published_at = published_at + interval '1s'", "public_jwk = '{}'"} {
		all = append(all, refusal{set, "keys_history", keys.Standby, alter(set)})
	}
	all = append(
		all,
		refusal{"activated_at rewritten", "keys_history", keys.Active, alter("activated_at = activated_at + interval '1s'")},
		refusal{"activation rewritten", "keys_history", keys.Active, alter("activation = 'scheduled'")},
		refusal{"deprecated_at rewritten", "keys_history", keys.Deprecated, alter("deprecated_at = deprecated_at - interval '1s'")},
		refusal{"horizon rewritten", "keys_history", keys.Deprecated, alter("token_horizon = token_horizon + interval '1s'")},
		refusal{"expiry put off", "keys_history", keys.Deprecated, alter("expires_at = expires_at + interval '1s'")},
		refusal{"expired_at rewritten", "keys_history", keys.Expired, alter("expired_at = expired_at + interval '1s'")},
		refusal{"revoked_at rewritten", "keys_history", keys.Revoked, alter("revoked_at = revoked_at + interval '1s'")},
		refusal{"reason rewritten", "keys_history", keys.Revoked, alter("revocation_reason = 'compromised'")},
		refusal{"purged_at rewritten", "keys_history", keys.Purged, alter("purged_at = purged_at + interval '1s'")},
		refusal{"public key comes back", "keys_history", keys.Purged, alter("public_jwk = '{}'")},
		refusal{"public key forgotten early", "keys_public_until_purged", keys.Revoked, alter("public_jwk = NULL")},
		refusal{"private key comes back", "keys_private_while_signing", keys.Deprecated, alter("sealed_private = 'x', data_key_version = 1")},
		refusal{"private key erased early", "keys_private_while_signing", keys.Active, alter("sealed_private = NULL, data_key_version = NULL")},
	)
	p.against(t, all)
}
