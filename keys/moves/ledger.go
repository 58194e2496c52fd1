package moves

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// ledger holds one tenant in one transaction: its keys, their transitions, and the
// events of these. A method that changes a key records transition and event together, so
// that neither can be written without the other; statements turns ledgers into SQL.
type ledger struct {
	adoption map[jose.SignatureAlgorithm]standbyAdoption // of standby keys, where the worker has asked
	tenant   tenant.Tenant
	head     audit.Head
	jitter   float64
	believer *tenant.Authority // writes and checks the codes of rows
	refused  error             // why its tenant's rows are not believed; nil if they are
	by       audit.By
	at       time.Time
	policies []tenant.Policy // retired ones too
	keys     []keys.Key      // all but the purged ones

	events  []audit.Event
	newKeys []newKey
	moves   []move
	due     map[jose.SignatureAlgorithm]time.Time // zero time: never

	noted []tenant.Operation // effects that its events do not tell

	// writesTenantRow is set if a statement writes the tenant's own row. It then
	// moves the head of the chain too, to nextHead.
	writesTenantRow bool
	nextHead        audit.Head
}

// newKey is a key that the transaction adds.
type newKey struct {
	keys.Key
	sealed     []byte
	version    int32 // of the data key
	stateEvent int64
}

// move is a key's transition to another state; Key is its result.
type move struct {
	keys.Key
	stateEvent int64
}

// addEvent adds an event and returns its seq.
func (l *ledger) addEvent(e audit.Event, details map[string]any) int64 {
	e.At, e.Actor, e.RequestID = l.at, l.by.Actor, l.by.RequestID
	if details = l.by.Details(details); details != nil {
		e.Details = audit.Details(details)
	}
	l.events = append(l.events, e)
	return l.head.Seq + int64(len(l.events))
}

// keysOf returns the ledger's keys of one algorithm.
func (l *ledger) keysOf(alg jose.SignatureAlgorithm) []keys.Key {
	return slices.DeleteFunc(slices.Clone(l.keys), func(k keys.Key) bool { return k.Alg != alg })
}

// keyInState returns the policy's key in the given state, or nil. Call it only for
// Standby and Active, of which a policy has at most one.
func (l *ledger) keyInState(alg jose.SignatureAlgorithm, state keys.State) *keys.Key {
	for i := range l.keys {
		if l.keys[i].Alg == alg && l.keys[i].State == state {
			return &l.keys[i]
		}
	}
	return nil
}

// findKey returns the key with this kid; nil if there is none or it is purged.
func (l *ledger) findKey(kid string) *keys.Key {
	for i := range l.keys {
		if l.keys[i].KID == kid {
			return &l.keys[i]
		}
	}
	return nil
}

// addKey adds a new key as standby or, if how is set, at once as active. The key's
// history shows both steps.
func (l *ledger) addKey(c candidate, s custody.Sealer, how keys.Activation) (keys.Key, error) {
	sealed, err := c.sealPrivate(l.tenant.ID, s)
	if err != nil {
		return keys.Key{}, err
	}
	k := keys.Key{
		TenantID: l.tenant.ID, KID: c.kid, Alg: c.alg, Algs: c.algs, State: keys.Standby, Origin: c.origin, PublicJWK: c.jwk,
		CreatedAt: l.at, PublishedAt: l.at,
	}
	seq := l.addEvent(audit.Event{Action: c.creationAction(), KID: k.KID, ToState: string(keys.Standby)}, c.details(map[string]any{}))
	if how != "" {
		k.State, k.Activation, k.ActivatedAt = keys.Active, how, &l.at
		seq = l.addActivationEvent(k)
	}
	l.newKeys = append(l.newKeys, newKey{Key: k, sealed: sealed, version: s.Version, stateEvent: seq})
	l.keys = append(l.keys, k)
	return k, nil
}

func (l *ledger) addActivationEvent(k keys.Key) int64 {
	return l.addEvent(audit.Event{Action: audit.KeyActivated, KID: k.KID, FromState: string(keys.Standby), ToState: string(keys.Active)},
		map[string]any{"activation": k.Activation, "published_seconds": publishedSeconds(k, l.at)})
}

// publishedSeconds returns for how many whole seconds the key has been in the JWKS.
func publishedSeconds(k keys.Key, at time.Time) int64 {
	return int64(at.Sub(k.PublishedAt) / time.Second)
}

// recordMove records a transition. The caller has set the key's fields that belong to
// the new state.
func (l *ledger) recordMove(k *keys.Key, seq int64) {
	l.moves = append(l.moves, move{Key: *k, stateEvent: seq})
}

// activate makes the standby the active key.
func (l *ledger) activate(k *keys.Key, how keys.Activation) error {
	if err := checkMove(k, keys.Active); err != nil {
		return err
	}
	k.State, k.Activation, k.ActivatedAt = keys.Active, how, &l.at
	l.recordMove(k, l.addActivationEvent(*k))
	return nil
}

// deprecate ends the signing of a key and destroys its private part. From then on the
// horizon of its tokens is known.
func (l *ledger) deprecate(k *keys.Key, s keys.Schedule) error {
	if err := checkMove(k, keys.Deprecated); err != nil {
		return err
	}
	horizon := keys.Later(s.TokenHorizon(l.at), k.Horizon())
	expires := s.ExpiresAt(l.at, *k)
	k.State, k.DeprecatedAt, k.TokenHorizon, k.ExpiresAt = keys.Deprecated, &l.at, &horizon, &expires
	l.recordMove(k, l.addEvent(audit.Event{Action: audit.KeyDeprecated, KID: k.KID, FromState: string(keys.Active), ToState: string(keys.Deprecated)},
		map[string]any{"expires_at": expires}))
	return nil
}

// expire removes a deprecated key from the JWKS by schedule.
func (l *ledger) expire(k *keys.Key) error {
	if err := checkMove(k, keys.Expired); err != nil {
		return err
	}
	k.State, k.ExpiredAt = keys.Expired, &l.at
	l.recordMove(k, l.addEvent(audit.Event{Action: audit.KeyExpired, KID: k.KID, FromState: string(keys.Deprecated), ToState: string(keys.Expired)}, nil))
	return nil
}

// revoke removes a key from the JWKS by an operator's decision.
func (l *ledger) revoke(k *keys.Key, reason keys.Reason, comment string) error {
	if err := checkMove(k, keys.Revoked); err != nil {
		return err
	}
	from := k.State
	k.State, k.RevokedAt, k.RevocationReason = keys.Revoked, &l.at, reason
	var details map[string]any
	if comment != "" {
		details = map[string]any{"comment": comment}
	}
	l.recordMove(k, l.addEvent(audit.Event{
		Action: audit.KeyRevoked, KID: k.KID, FromState: string(from), ToState: string(keys.Revoked), Reason: string(reason),
	}, details))
	return nil
}

// purge erases a key's public part.
func (l *ledger) purge(k *keys.Key) error {
	if err := checkMove(k, keys.Purged); err != nil {
		return err
	}
	from := k.State
	k.State, k.PurgedAt, k.PublicJWK = keys.Purged, &l.at, nil
	l.recordMove(k, l.addEvent(audit.Event{Action: audit.KeyPurged, KID: k.KID, FromState: string(from), ToState: string(keys.Purged)}, nil))
	return nil
}

// checkMove returns a *keys.StateError if the key cannot move to a state.
func checkMove(k *keys.Key, to keys.State) error {
	if !keys.CanMove(k.State, to) {
		return &keys.StateError{KID: k.KID, From: k.State, To: to}
	}
	return nil
}

// reschedule sets when the worker next processes a policy.
func (l *ledger) reschedule(p tenant.Policy) {
	steps, next := keys.Plan(l.at, l.scheduleOf(p), l.keysOf(p.Alg))
	if len(steps) > 0 {
		next = l.at
	}
	l.due[p.Alg] = next
}

// renderSet renders the tenant's JWK Set after the transaction. It is empty if a key is
// damaged: the tenant stays usable, and its previous set is no longer valid.
func (l *ledger) renderSet() snapshot.Set {
	set, _ := snapshot.RenderSet(l.at, l.keys, l.livePolicies()) // readers get the error
	return set.Sealed(l.believer, l.tenant.ID)
}

// changePayloads returns the notifications about the transaction. The creation and the
// deletion of a tenant also concern its domain.
func (l *ledger) changePayloads() []string {
	if l.writesTenantRow {
		return tenant.ChangePayloads(l.tenant.ID, l.tenant.Slug, l.tenant.CustomDomain)
	}
	return tenant.ChangePayloads(l.tenant.ID, l.tenant.Slug)
}

// reuseRead takes over policies and keys that were read without a lock, if the tenant
// has not changed since. The ledger keeps its own, later time.
func (l *ledger) reuseRead(read *ledger) bool {
	if read == nil || read.head.Seq != l.head.Seq {
		return false
	}
	l.at, l.policies, l.keys = keys.Later(l.at, read.at), read.policies, slices.Clone(read.keys)
	l.refused = cmp.Or(l.refused, read.refused)
	return true
}

func (l *ledger) addPolicyRow(row db.Policy) {
	l.policies = append(l.policies, tenant.PolicyRow(row).Policy())
	if err := l.believer.CheckPolicy(tenant.PolicyRow(row)); err != nil {
		l.refused = err
	}
}

// addKeyRow adds a key. It also ensures that no transition of this operation is earlier
// than a previous one, whatever the clocks of several machines say.
func (l *ledger) addKeyRow(row db.UnpurgedKeysOfTenantsRow) {
	k := snapshot.KeyRow(row).Key()
	l.keys = append(l.keys, k)
	l.at = keys.Later(l.at, k.LastMoved())
}

// scheduleOf returns the input of [keys.Plan] for one of the ledger's policies.
func (l *ledger) scheduleOf(p tenant.Policy) keys.Schedule {
	s := keys.Schedule{
		Policy: p, ClockSkew: l.tenant.Caching.ClockSkew,
		Jitter: keys.Jitter(l.tenant.ID, p.Alg, p.RotationInterval, l.jitter), Freezes: l.tenant.Freezes,
	}
	if a, known := l.adoption[p.Alg]; known {
		s.Adoption = &a.share
	}
	if l.tenant.CacheHorizon != nil {
		s.HoldUntil = *l.tenant.CacheHorizon
	}
	return s
}

// findPolicy returns a live policy by its algorithm; an empty one selects the default.
// Errors: keys.ErrPolicyNotFound.
func (l *ledger) findPolicy(alg jose.SignatureAlgorithm) (tenant.Policy, error) {
	i := slices.IndexFunc(l.policies, func(p tenant.Policy) bool {
		return p.RetiredAt == nil && (p.Alg == alg || alg == "" && p.Default)
	})
	if i < 0 {
		return tenant.Policy{}, fmt.Errorf("%w: %s", keys.ErrPolicyNotFound, alg)
	}
	return l.policies[i], nil
}

// applyStep applies one step of a plan.
func (l *ledger) applyStep(step keys.Step, s keys.Schedule, c candidate, sealer custody.Sealer) error {
	switch step.Kind {
	case keys.Expire:
		return l.expire(l.findKey(step.KID))
	case keys.Purge:
		return l.purge(l.findKey(step.KID))
	case keys.Promote:
		return l.promoteStandby(s, keys.Scheduled)
	case keys.CreateStandby:
		_, err := l.addKey(c, sealer, "")
		return err
	}
	return errors.New("keys: unknown step " + string(step.Kind))
}

// promoteStandby deprecates the active key and activates the standby.
func (l *ledger) promoteStandby(s keys.Schedule, how keys.Activation) error {
	if active := l.keyInState(s.Alg, keys.Active); active != nil {
		if err := l.deprecate(active, s); err != nil {
			return err
		}
	}
	return l.activate(l.keyInState(s.Alg, keys.Standby), how)
}

// livePolicies returns the policies that are not retired.
func (l *ledger) livePolicies() (out []tenant.Policy) {
	for _, p := range l.policies {
		if p.RetiredAt == nil {
			out = append(out, p)
		}
	}
	return out
}

// entryOf adds a key's future transitions according to its policy.
func (l *ledger) entryOf(k keys.Key) Entry {
	for _, p := range l.policies {
		if p.Alg == k.Alg {
			s := l.scheduleOf(p)
			return Entry{Key: k, NextTransitionAt: s.NextTransition(l.at, k, l.keysOf(k.Alg)), SafeToRetireAt: s.SafeToRetireAt(k)}
		}
	}
	return Entry{Key: k}
}
