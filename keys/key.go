package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

// State is the stage of a key's life; see the diagram in the package comment.
type State string

// The states of a key and, in brackets, their names in NIST SP 800-57 part 1.
const (
	Standby    State = "standby"    // published, does not sign yet (pre-activation)
	Active     State = "active"     // the one key of its policy that signs (active)
	Deprecated State = "deprecated" // signed once, still published (deactivated)
	Expired    State = "expired"    // left the JWKS on schedule (deactivated)
	Revoked    State = "revoked"    // left the JWKS by a revocation (compromised)
	Purged     State = "purged"     // the public key is gone too (destroyed)
)

// Origin tells how a key came into Keyward.
type Origin string

// The origins of a key.
const (
	Generated Origin = "generated"
	Imported  Origin = "imported"
)

// Activation tells how a key became active. Only Scheduled observes the
// policy's publish lead; the others are explicit actions of a person.
type Activation string

// Scheduled is the activation by the worker when the rotation interval is over.
// Package moves has the others.
const Scheduled Activation = "scheduled"

// Reason is the reason of a revocation, in the terms of OpenID Federation 1.0
// section 8.7.
type Reason string

// The reasons for a revocation.
const (
	Unspecified Reason = "unspecified"
	Compromised Reason = "compromised"
	Superseded  Reason = "superseded"
)

// Key is the public side of one signing key: everything but the private key,
// which has no field here and no way into this type.
type Key struct {
	TenantID  uuid.UUID
	KID       string // RFC 7515 section 4.1.4; RFC 7638 thumbprint unless imported with another
	Alg       jose.SignatureAlgorithm
	Algs      []jose.SignatureAlgorithm // all that its tokens may have, Alg first; nil: Alg alone
	State     State
	Origin    Origin
	PublicJWK json.RawMessage // RFC 7517, with kid, use and alg; nil once purged

	CreatedAt        time.Time
	PublishedAt      time.Time
	ActivatedAt      *time.Time
	Activation       Activation // how it became active; empty when it never did
	DeprecatedAt     *time.Time
	ExpiresAt        *time.Time // when a deprecated key leaves the JWKS
	ExpiredAt        *time.Time // when it did
	RevokedAt        *time.Time
	RevocationReason Reason
	PurgedAt         *time.Time

	// TokenHorizon is when the last token signed with the key is accepted
	// nowhere any more: the exp it can have at most, plus skew, see
	// [Schedule.TokenHorizon]. It is known once the key stops signing; before that it is set where an earlier policy
	// allowed longer tokens.
	TokenHorizon *time.Time

	// What this platform signed with the key, flushed at least every minute.
	LastSignedAt       *time.Time
	LastTokenExpiresAt *time.Time
}

// Algorithms returns every algorithm that tokens of the key may have: that of its policy
// first. An imported key has several if its old issuer published it for several.
func (k *Key) Algorithms() []jose.SignatureAlgorithm {
	if len(k.Algs) == 0 {
		return []jose.SignatureAlgorithm{k.Alg}
	}
	return k.Algs
}

// LastMoved returns the newest time in the key's history. A key's next move is
// never recorded before it, because the clocks of two processes may differ.
func (k Key) LastMoved() time.Time {
	at := k.PublishedAt
	for _, t := range []*time.Time{k.ActivatedAt, k.DeprecatedAt, k.ExpiredAt, k.RevokedAt, k.PurgedAt} {
		if t != nil {
			at = Later(at, *t)
		}
	}
	return at
}

// Born is the state of a key before it is stored.
const Born State = ""

// ErrInvalidTransition means that a key cannot move to the requested state;
// test with errors.Is. The error itself is a [*StateError].
var ErrInvalidTransition = errors.New("keys: invalid transition")

// StateError describes a refused move of a key.
type StateError struct {
	KID      string
	From, To State
}

// Error names the key and both states.
func (e *StateError) Error() string {
	if e.From == Born {
		return fmt.Sprintf("keys: key %s cannot enter as %s", e.KID, e.To)
	}
	return fmt.Sprintf("keys: key %s is %s and cannot become %s", e.KID, e.From, e.To)
}

// Unwrap makes errors.Is(err, ErrInvalidTransition) true.
func (e *StateError) Unwrap() error { return ErrInvalidTransition }

// transitions is the drawing of the package comment as a table; the database
// holds the same one in a trigger and a test compares them. A key born active
// was standby for no time at all: the first key of a policy, a fresh one after
// a revocation, one imported as active. Its history still says both "created"
// and "activated". A key born deprecated is an imported public key.
var transitions = map[State][]State{
	Born:       {Standby, Active, Deprecated},
	Standby:    {Active, Revoked},
	Active:     {Deprecated, Revoked},
	Deprecated: {Expired, Revoked},
	Expired:    {Purged},
	Revoked:    {Purged},
	Purged:     nil,
}

// States lists every state in the order of a key's life, without [Born].
func States() []State {
	return []State{Standby, Active, Deprecated, Expired, Revoked, Purged}
}

// statesAfter lists the states that a key may move to from s.
func statesAfter(s State) []State { return slices.Clone(transitions[s]) }

// CanMove reports whether a key may go from one state to another; from is
// [Born] for a key that enters. Staying is not a move.
func CanMove(from, to State) bool { return slices.Contains(transitions[from], to) }

// Valid reports whether s is one of [States].
func (s State) Valid() bool { return slices.Contains(States(), s) }

// Published reports whether keys in this state are in the JWKS.
func (s State) Published() bool { return s == Standby || s == Active || s == Deprecated }

// CanSign reports whether a key in this state signs now.
func (s State) CanSign() bool { return s == Active }

// HasPrivate reports whether a sealed private key exists in this state: while
// the key signs or may still come to sign, and not a moment longer (NIST SP
// 800-57 part 1, section 7: a private signature key ends with its use).
func (s State) HasPrivate() bool { return s == Standby || s == Active }
