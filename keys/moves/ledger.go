package moves

import (
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// ledger is one tenant in one transaction: what its keys are, how they move,
// and the events that say so. A method that moves a key notes move and event
// together, so that there is no way to write one without the other; statements
// turns ledgers into SQL.
type ledger struct {
	tenant   tenant.Tenant
	head     audit.Head
	jitter   float64
	by       audit.By
	at       time.Time
	policies []tenant.Policy // all of them
	keys     []keys.Key      // all but the purged ones

	events []audit.Event
	births []birth
	moves  []move
	due    map[jose.SignatureAlgorithm]time.Time // zero time: never

	// rowMoves says that the statement that writes the tenant's own row moves
	// the head of its chain too, to next.
	rowMoves bool
	next     audit.Head
}

// birth is a key that enters.
type birth struct {
	keys.Key
	sealed     []byte
	version    int32 // of the data key
	stateEvent int64
}

// move is a key that goes from one state to another; Key is as it is after.
type move struct {
	keys.Key
	stateEvent int64
}

// ledger opens the ledger of a tenant that is locked or only looked at.
func (s *Store) ledger(row tenant.TenantRow, by audit.By, at time.Time) *ledger {
	return &ledger{
		tenant: row.Tenant(), head: row.Head(), jitter: s.cfg.JitterFraction,
		by: by, at: at, due: map[jose.SignatureAlgorithm]time.Time{},
	}
}

// note adds an event and returns its seq.
func (l *ledger) note(e audit.Event, details map[string]any) int64 {
	e.At, e.Actor, e.RequestID = l.at, l.by.Actor, l.by.RequestID
	if details = l.by.Details(details); details != nil {
		e.Details = audit.Details(details)
	}
	l.events = append(l.events, e)
	return l.head.Seq + int64(len(l.events))
}

// of returns the ledger's keys of one algorithm.
func (l *ledger) of(alg jose.SignatureAlgorithm) []keys.Key {
	return slices.DeleteFunc(slices.Clone(l.keys), func(k keys.Key) bool { return k.Alg != alg })
}

// in returns the key of a policy that is in a state of which there is one.
func (l *ledger) in(alg jose.SignatureAlgorithm, state keys.State) *keys.Key {
	for i := range l.keys {
		if l.keys[i].Alg == alg && l.keys[i].State == state {
			return &l.keys[i]
		}
	}
	return nil
}

// find returns a key by its kid; nil if there is none or it is purged.
func (l *ledger) find(kid string) *keys.Key {
	for i := range l.keys {
		if l.keys[i].KID == kid {
			return &l.keys[i]
		}
	}
	return nil
}

// enter brings in a new key as standby or, by somebody's act, at once as
// active. The key's history says both.
func (l *ledger) enter(c candidate, s custody.Sealer, how keys.Activation) (keys.Key, error) {
	sealed, err := c.seal(l.tenant.ID, s)
	if err != nil {
		return keys.Key{}, err
	}
	k := keys.Key{
		TenantID: l.tenant.ID, KID: c.kid, Alg: c.alg, State: keys.Standby, Origin: c.origin, PublicJWK: c.jwk,
		CreatedAt: l.at, PublishedAt: l.at,
	}
	seq := l.note(audit.Event{Action: c.arrival(), KID: k.KID, ToState: string(keys.Standby)}, map[string]any{"alg": k.Alg})
	if how != "" {
		k.State, k.Activation, k.ActivatedAt = keys.Active, how, &l.at
		seq = l.noteActivation(k)
	}
	l.births = append(l.births, birth{Key: k, sealed: sealed, version: s.Version, stateEvent: seq})
	l.keys = append(l.keys, k)
	return k, nil
}

func (l *ledger) noteActivation(k keys.Key) int64 {
	return l.note(audit.Event{Action: audit.KeyActivated, KID: k.KID, FromState: string(keys.Standby), ToState: string(keys.Active)},
		map[string]any{"activation": k.Activation, "published_seconds": publishedSeconds(k, l.at)})
}

// publishedSeconds is for how many whole seconds the key has been in the JWKS.
func publishedSeconds(k keys.Key, at time.Time) int64 {
	return int64(at.Sub(k.PublishedAt) / time.Second)
}

// moved writes a move down. The caller has set the fields that go with the
// state; the key's own copy changes too.
func (l *ledger) moved(k *keys.Key, seq int64) {
	l.moves = append(l.moves, move{Key: *k, stateEvent: seq})
}

// activate makes the standby sign.
func (l *ledger) activate(k *keys.Key, how keys.Activation) error {
	if err := legal(k, keys.Active); err != nil {
		return err
	}
	k.State, k.Activation, k.ActivatedAt = keys.Active, how, &l.at
	l.moved(k, l.noteActivation(*k))
	return nil
}

// deprecate ends a key's signing; its private part goes with it. From here on
// the horizon of its tokens is known.
func (l *ledger) deprecate(k *keys.Key, s keys.Schedule) error {
	if err := legal(k, keys.Deprecated); err != nil {
		return err
	}
	horizon := l.at.Add(s.MaxTokenTTL + s.ClockSkew)
	if k.TokenHorizon != nil {
		horizon = keys.Later(horizon, *k.TokenHorizon)
	}
	expires := s.ExpiresAt(l.at, *k)
	k.State, k.DeprecatedAt, k.TokenHorizon, k.ExpiresAt = keys.Deprecated, &l.at, &horizon, &expires
	l.moved(k, l.note(audit.Event{Action: audit.KeyDeprecated, KID: k.KID, FromState: string(keys.Active), ToState: string(keys.Deprecated)},
		map[string]any{"expires_at": expires}))
	return nil
}

// expire takes a key out of the JWKS because its time is up.
func (l *ledger) expire(k *keys.Key) error {
	if err := legal(k, keys.Expired); err != nil {
		return err
	}
	k.State, k.ExpiredAt = keys.Expired, &l.at
	l.moved(k, l.note(audit.Event{Action: audit.KeyExpired, KID: k.KID, FromState: string(keys.Deprecated), ToState: string(keys.Expired)}, nil))
	return nil
}

// revoke takes a key out of the JWKS because someone said so.
func (l *ledger) revoke(k *keys.Key, reason keys.Reason, comment string) error {
	if err := legal(k, keys.Revoked); err != nil {
		return err
	}
	from := k.State
	k.State, k.RevokedAt, k.RevocationReason = keys.Revoked, &l.at, reason
	var details map[string]any
	if comment != "" {
		details = map[string]any{"comment": comment}
	}
	l.moved(k, l.note(audit.Event{
		Action: audit.KeyRevoked, KID: k.KID, FromState: string(from), ToState: string(keys.Revoked), Reason: string(reason),
	}, details))
	return nil
}

// purge forgets a key's public part.
func (l *ledger) purge(k *keys.Key) error {
	if err := legal(k, keys.Purged); err != nil {
		return err
	}
	from := k.State
	k.State, k.PurgedAt, k.PublicJWK = keys.Purged, &l.at, nil
	l.moved(k, l.note(audit.Event{Action: audit.KeyPurged, KID: k.KID, FromState: string(from), ToState: string(keys.Purged)}, nil))
	return nil
}

func legal(k *keys.Key, to keys.State) error {
	if !keys.CanMove(k.State, to) {
		return &keys.StateError{KID: k.KID, From: k.State, To: to}
	}
	return nil
}

// reschedule asks Plan when the worker has to look at a policy again.
func (l *ledger) reschedule(p tenant.Policy) {
	steps, next := keys.Plan(l.at, l.schedule(p), l.of(p.Alg))
	if len(steps) > 0 {
		next = l.at
	}
	l.due[p.Alg] = next
}

// set is what readers are served of the tenant as the ledger leaves it; none if
// a key is damaged: the tenant goes on living, and its set from before no longer
// counts.
func (l *ledger) set() snapshot.Set {
	set, _ := snapshot.RenderSet(l.at, l.keys, l.live()) // an error is told to who reads
	return set
}

// changes is what other processes are told about a tenant. One that begins or
// ends gets its domain, or gives it up.
func (l *ledger) changes() []string {
	if l.rowMoves {
		return tenant.ChangePayloads(l.tenant.ID, l.tenant.Slug, l.tenant.CustomDomain)
	}
	return tenant.ChangePayloads(l.tenant.ID, l.tenant.Slug)
}
