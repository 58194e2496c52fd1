package keys

import (
	"errors"
	"testing"
)

func TestEveryPairOfStates(t *testing.T) {
	legal := map[[2]State]bool{
		{Born, Standby}: true, {Born, Active}: true, {Born, Deprecated}: true,
		{Standby, Active}: true, {Standby, Revoked}: true,
		{Active, Deprecated}: true, {Active, Revoked}: true,
		{Deprecated, Expired}: true, {Deprecated, Revoked}: true,
		{Expired, Purged}: true, {Revoked, Purged}: true,
	}
	all := append(States(), Born, State("pending"))
	for _, from := range all {
		for _, to := range all {
			if got, want := CanMove(from, to), legal[[2]State{from, to}]; got != want {
				t.Errorf("CanMove(%q, %q) = %v, want %v", from, to, got, want)
			}
		}
	}
}

func TestEveryStateIsReachedAndEnds(t *testing.T) {
	seen := map[State]bool{}
	var walk func(State, int)
	walk = func(s State, depth int) {
		if depth > len(States()) {
			t.Fatalf("a key can go round in circles through %q", s)
		}
		seen[s] = true
		for _, to := range statesAfter(s) {
			walk(to, depth+1)
		}
	}
	walk(Born, 0)
	for _, s := range States() {
		if !seen[s] {
			t.Errorf("no way leads to %q", s)
		}
		if s != Purged && len(statesAfter(s)) == 0 {
			t.Errorf("no way leads out of %q", s)
		}
	}
}

func TestWhatAStateMeans(t *testing.T) {
	for _, c := range []struct {
		s                        State
		published, signs, sealed bool
	}{
		{Standby, true, false, true},
		{Active, true, true, true},
		{Deprecated, true, false, false},
		{Expired, false, false, false},
		{Revoked, false, false, false},
		{Purged, false, false, false},
	} {
		if !c.s.Valid() || c.s.Published() != c.published || c.s.CanSign() != c.signs || c.s.HasPrivate() != c.sealed {
			t.Errorf("%s: valid %v published %v signs %v private %v", c.s, c.s.Valid(), c.s.Published(), c.s.CanSign(), c.s.HasPrivate())
		}
	}
	for _, s := range []State{Born, "pending", "ACTIVE"} {
		if s.Valid() {
			t.Errorf("%q is valid", s)
		}
	}
}

func TestStateErrorNamesTheMove(t *testing.T) {
	err := error(&StateError{KID: "k1", From: Revoked, To: Active})
	if !errors.Is(err, ErrInvalidTransition) {
		t.Error("not an ErrInvalidTransition")
	}
	if want := "keys: key k1 is revoked and cannot become active"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestTransitionsCannotBeChangedFromOutside(t *testing.T) {
	statesAfter(Standby)[0] = Purged
	if CanMove(Standby, Purged) {
		t.Error("the table was changed through its copy")
	}
}
