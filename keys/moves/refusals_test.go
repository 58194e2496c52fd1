package moves

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// refusal is a transaction by a superuser of whom nobody knows what he does,
// and the rule that it must break on; no rule: it must pass.
type refusal struct {
	name  string
	rule  string
	given keys.State // where the tenant's key "kid" is; Born: there is none
	do    func(a *act, id uuid.UUID) error
}

// against runs every refusal on a tenant of its own.
func (p *psql) against(t *testing.T, all []refusal) {
	t.Helper()
	for _, r := range all {
		id := p.tenant("")
		if r.given != keys.Born {
			p.key(id, "kid", r.given)
		}
		before := p.fingerprint()
		err := p.try(func(a *act) error { return r.do(a, id) })
		p.refused(t, r.name, r.rule, before, err)
	}
}

// sql runs statements in which {id} is the tenant's.
func sql(text string) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error { return a.exec(strings.ReplaceAll(text, "{id}", "'"+id.String()+"'")) }
}

// audited runs statements after an event that allows them: its details name the
// default policy.
func audited(action audit.Action, text string) func(*act, uuid.UUID) error {
	return auditedAs(action, columns{"alg": "ES256"}, text)
}

// auditedAs runs statements after an event with details.
func auditedAs(action audit.Action, details columns, text string) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error {
		_, err := a.happen(id, audit.Event{Action: action, Details: audit.Details(details)})
		return errors.Join(err, sql(text)(a, id))
	}
}

// row inserts a key of a state as the CHECKs like it, except for what differs.
func row(s keys.State, differ columns) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error {
		r := a.newborn(id, "other")
		a.settle(r, s)
		r["state_event"] = 1
		for column, value := range differ {
			r[column] = value
		}
		return errors.Join(a.bare(), a.insertRow("keys", r))
	}
}

func enter(s keys.State, differ columns) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error {
		r := a.born(id, "other", s)
		for column, value := range differ {
			r[column] = value
		}
		return a.enter(r)
	}
}

func TestDatabaseRefusesKeys(t *testing.T) {
	p := newPSQL(t)
	all := []refusal{
		{"two active", "keys_one_active", keys.Active, enter(keys.Active, nil)},
		{"two standby", "keys_one_standby", keys.Standby, enter(keys.Standby, nil)},
		{"a standby beside an active", "", keys.Active, enter(keys.Standby, nil)},
		{"promotion beside an active", "keys_one_active", keys.Standby, func(a *act, id uuid.UUID) error {
			return errors.Join(enter(keys.Active, nil)(a, id), a.move(id, "kid", keys.Active))
		}},
		{"a kid again after its purge", "keys_pkey", keys.Purged, enter(keys.Standby, columns{"kid": "kid"})},
		{"no policy", "keys_tenant_id_alg_fkey", keys.Born, enter(keys.Standby, columns{"alg": "ES384"})},
		{"no data key", "keys_tenant_id_data_key_version_fkey", keys.Born, enter(keys.Standby, columns{"data_key_version": 7})},
		{"born active by the schedule", "keys_birth", keys.Born, enter(keys.Active, columns{"activation": "scheduled"})},
		{"born deprecated though it is ours", "keys_birth", keys.Born, enter(keys.Deprecated, columns{"origin": "generated"})},
		{"born with a past", "keys_birth", keys.Born, enter(keys.Deprecated, columns{"activated_at": activatedAt(p.at), "activation": "import"})},

		{"standby without private key", "keys_private_while_signing", keys.Born, row(keys.Standby, columns{"sealed_private": nil, "data_key_version": nil})},
		{"active without private key", "keys_private_while_signing", keys.Born, row(keys.Active, columns{"sealed_private": nil, "data_key_version": nil})},
		{"private key without data key", "keys_data_key_with_private", keys.Born, row(keys.Active, columns{"data_key_version": nil})},
		{"data key without private key", "keys_data_key_with_private", keys.Born, row(keys.Revoked, columns{"data_key_version": 1})},
		{"purged with public key", "keys_public_until_purged", keys.Born, row(keys.Purged, columns{"public_jwk": "{}"})},
		{"unknown origin", "keys_origin", keys.Born, row(keys.Standby, columns{"origin": "found"})},
		{"unknown activation", "keys_activation", keys.Born, row(keys.Active, columns{"activation": "luck"})},
		{"unknown reason", "keys_revocation_reason", keys.Born, row(keys.Revoked, columns{"revocation_reason": "whim"})},
		{"unknown state", "keys_active_times", keys.Born, row(keys.Active, columns{"state": "lost"})},
		{"activation of a standby", "keys_activation_when_activated", keys.Born, row(keys.Standby, columns{"activation": "manual"})},
		{"active by nobody's act", "keys_activation_when_activated", keys.Born, row(keys.Active, columns{"activation": nil})},
		{"reason without revocation", "keys_reason_when_revoked", keys.Born, row(keys.Active, columns{"revocation_reason": "superseded"})},
		{"revocation without reason", "keys_reason_when_revoked", keys.Born, row(keys.Revoked, columns{"revocation_reason": nil})},
		{"deprecated without expiry", "keys_expiry_when_deprecated", keys.Born, row(keys.Deprecated, columns{"expires_at": nil})},
		{"ours, deprecated, never active", "keys_public_only_is_imported", keys.Born, row(keys.Deprecated, columns{"activated_at": nil, "activation": nil})},
		{"deprecated without horizon", "keys_horizon_when_deprecated", keys.Born, row(keys.Deprecated, columns{"token_horizon": nil})},
		{"a token outlives expires_at", "keys_no_token_outlives_key", keys.Born, row(keys.Deprecated, columns{"token_horizon": expiredAt(p.at).Add(time.Microsecond)})},
		{"a token outlives expired_at", "keys_no_token_outlives_key", keys.Born, row(keys.Expired, columns{
			"token_horizon": expiredAt(p.at), "expired_at": expiredAt(p.at).Add(-time.Microsecond),
		})},
	}
	for _, s := range keys.States() {
		if !s.HasPrivate() {
			all = append(all, refusal{
				string(s) + " with private key", "keys_private_while_signing", keys.Born,
				row(s, columns{"sealed_private": []byte("sealed"), "data_key_version": 1}),
			})
		}
		if s != keys.Purged {
			all = append(all, refusal{string(s) + " without public key", "keys_public_until_purged", keys.Born, row(s, columns{"public_jwk": nil})})
		}
	}
	for _, kid := range []string{"", "\n", "a\n", "a\x01b", "\x7f", strings.Repeat("a", 257), strings.Repeat("é", 129)} {
		all = append(all, refusal{"kid " + kid, "keys_kid_pattern", keys.Born, row(keys.Standby, columns{"kid": kid})})
	}
	before := func(s keys.State, column string, at time.Time) refusal {
		return refusal{column + " too early", "keys_times_in_order", keys.Born, row(s, columns{column: at.Add(-time.Microsecond)})}
	}
	p.against(t, append(
		all,
		before(keys.Standby, "published_at", p.at), before(keys.Active, "activated_at", p.at), before(keys.Deprecated, "deprecated_at", activatedAt(p.at)),
		before(keys.Revoked, "revoked_at", p.at), before(keys.Purged, "purged_at", expiredAt(p.at)),
		refusal{"kid as long as may be", "", keys.Born, row(keys.Standby, columns{"kid": strings.Repeat("é", 128)})},
		refusal{"kid of dots", "", keys.Born, row(keys.Standby, columns{"kid": ".."})},
		refusal{"kid of another system", "", keys.Born, row(keys.Standby, columns{"kid": `RId+oQm2IhmkUI1wTQUBPQm7jXY=/%2F "\'?#;`})},
	))
}

// Every way to set or not to set the times of a key, in every state: only the
// histories that exist are stored.
func TestDatabaseRefusesTimesThatDoNotFitTheState(t *testing.T) {
	p := newPSQL(t)
	id := p.tenant("")
	times := []string{"activated_at", "deprecated_at", "expired_at", "revoked_at", "purged_at"}
	histories := map[keys.State][]string{
		keys.Standby: {""}, keys.Active: {"activated_at"},
		keys.Deprecated: {"deprecated_at", "activated_at deprecated_at"},
		keys.Expired:    {"deprecated_at expired_at", "activated_at deprecated_at expired_at"},
		keys.Revoked:    {"revoked_at", "activated_at revoked_at", "deprecated_at revoked_at", "activated_at deprecated_at revoked_at"},
	}
	for _, h := range slices.Concat(histories[keys.Expired], histories[keys.Revoked]) {
		histories[keys.Purged] = append(histories[keys.Purged], h+" purged_at")
	}
	errEnough := errors.New("enough")
	for _, s := range keys.States() {
		for set := range 1 << len(times) {
			var chosen []string
			err := p.try(func(a *act) error {
				r := a.newborn(id, "kid")
				a.settle(r, s)
				chosen = timesOf(a, r, times, set)
				if err := errors.Join(a.bare(), a.insertRow("keys", r)); err != nil {
					return err
				}
				return errEnough
			})
			history := strings.Join(chosen, " ")
			if exists := slices.Contains(histories[s], history); exists != errors.Is(err, errEnough) || !exists && !strings.HasPrefix(db.Constraint(err), "keys_") {
				t.Errorf("%s with %q: exists %v, database says %v", s, history, exists, err)
			}
		}
	}
}

// timesOf sets those times of a row whose bits are set, with what goes with
// each, and clears the others.
func timesOf(a *act, r columns, times []string, set int) (chosen []string) {
	full := columns{}
	for _, s := range []keys.State{keys.Expired, keys.Revoked, keys.Purged} {
		a.settle(full, s)
	}
	full["expired_at"], full["revoked_at"], full["revocation_reason"] = expiredAt(a.at), expiredAt(a.at), "unspecified"
	with := map[string][]string{
		"activated_at": {"activation"}, "deprecated_at": {"expires_at", "token_horizon"}, "revoked_at": {"revocation_reason"},
	}
	r["state_event"], r["origin"] = 1, "imported"
	for i, column := range times {
		for _, c := range append(with[column], column) {
			if r[c] = nil; set&(1<<i) != 0 {
				r[c] = full[c]
			}
		}
		if set&(1<<i) != 0 {
			chosen = append(chosen, column)
		}
	}
	return chosen
}
