package keys

import (
	"errors"
	"fmt"
	"slices"
)

// Born is where a key comes from when it enters the table: no state yet.
const Born State = ""

// ErrInvalidTransition says that a key cannot go where it was sent; test with
// errors.Is. The error itself is a [*StateError].
var ErrInvalidTransition = errors.New("keys: invalid transition")

// StateError names the move that was refused.
type StateError struct {
	KID      string
	From, To State
}

// Error says which key could not move where.
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

// Transitions lists the states a key may move to from s.
func Transitions(s State) []State { return slices.Clone(transitions[s]) }

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
