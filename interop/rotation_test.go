package interop

import (
	"testing"
	"time"
)

// TestRotationByHand rotates twice. The first time the new key is one that all
// verifiers have in their caches, since it was published ahead: nobody notices.
// The second time, right afterwards, it is one that no cache has, which is what
// the publish lead saves the scheduled rotations from.
func TestRotationByHand(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, alg string) {
		tn := byHand(t, alg)
		first := tn.token(t, alg)
		warm := open(t, tn, alg)
		warm.accept(t, "a token before any rotation", first)

		warm.during(t, tn, alg, func() error { return tn.rotate(t.Context(), alg) })
		second := tn.token(t, alg)
		differ(t, first, second)
		warm.accept(t, "an old token after the rotation", first)
		warm.accept(t, "a new token after the rotation", second)
		open(t, tn, alg).accept(t, "an old token, seen for the first time", first)

		if err := tn.rotate(t.Context(), alg); err != nil {
			t.Fatal(err)
		}
		third := tn.token(t, alg)
		differ(t, second, third)
		warm.meetUnknown(t, third)
		warm.accept(t, "an old token after two rotations", second)
		fresh := open(t, tn, alg)
		fresh.accept(t, "the oldest token, seen for the first time", first)
		fresh.accept(t, "the newest token, seen for the first time", third)
	})
}

// during has all verify tokens signed while something happens, without a pause.
func (vs verifiers) during(t *testing.T, tn *tenant, alg string, happen func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- happen() }()
	for {
		vs.accept(t, "a token signed while keys change", tn.token(t, alg))
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

func differ(t *testing.T, before, after token) {
	t.Helper()
	if before.KID == after.KID {
		t.Fatalf("key %s signs before and after the rotation", before.KID)
	}
}

// meetUnknown shows verifiers a token whose key their caches cannot have, until
// each does what its habit is.
func (vs verifiers) meetUnknown(t *testing.T, tok token) {
	t.Helper()
	vs.habit(refetches).accept(t, "a token of an unknown key", tok)
	vs.habit(waits).refuse(t, "a token of an unknown key, though its set is young", tok)
	for _, v := range vs.habit(coolsDown) {
		v.coolDown(t, tok)
	}
}

func (vs verifiers) habit(h habit) verifiers {
	return vs.those(func(v verifier) bool { return v.unknownKID == h })
}

// coolDown shows a token of an unknown key to a verifier that may not look yet,
// until it looks.
func (v verifier) coolDown(t *testing.T, tok token) {
	t.Helper()
	early := v.verify(t.Context(), tok.Token) == nil
	if age := time.Since(v.opened); early && age < cooldown {
		t.Errorf("%s looks for an unknown key when its set is %v old", v.name, age)
	}
	eventually(t, v.name+" has cooled down and looks", func() bool {
		return v.verify(t.Context(), tok.Token) == nil
	})
}
