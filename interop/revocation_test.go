package interop

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// revocation is what Keyward answers to one.
type revocation struct {
	Key          key     `json:"key"`
	Mode         string  `json:"mode"`
	Replacement  key     `json:"replacement"`
	TrustedUntil []trust `json:"trusted_until"`
}

// trust is how long, as Keyward says, some verifiers may trust a revoked key.
type trust struct {
	Examples         []string   `json:"examples"`
	Until            *time.Time `json:"until"`
	EndsAtFreshToken bool       `json:"ends_at_fresh_token"`
}

// revoke takes the token's key out of the JWKS.
func (tn *tenant) revoke(ctx context.Context, tok token, mode string) (revocation, error) {
	r, err := call[revocation](ctx, "POST", tn.path("/keys/"+tok.KID+"/revoke"), object{"reason": "compromised", "mode": mode})
	if err == nil && (r.Key.State != "revoked" || r.Mode != mode) {
		err = fmt.Errorf("revoke %s: the key is %s, the mode %s", mode, r.Key.State, r.Mode)
	}
	return r, err
}

// TestRevocationStandby: the key that takes over is one that all caches have.
// So nobody fails, and nobody has a reason to look again: whoever trusted the
// revoked key goes on until its cache is too old.
func TestRevocationStandby(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, alg string) {
		tn := byHand(t, alg)
		stolen := tn.token(t, alg)
		warm := open(t, tn, alg)
		warm.accept(t, "a token before the revocation", stolen)

		var r revocation
		warm.during(t, tn, alg, func() (err error) {
			r, err = tn.revoke(t.Context(), stolen, "standby")
			return err
		})
		after := tn.token(t, alg)
		if after.KID != r.Replacement.KID {
			t.Fatalf("key %s signs, not the standby %s", after.KID, r.Replacement.KID)
		}
		warm.accept(t, "a token of the standby", after)
		warm.accept(t, "a revoked key's token, as caches that need not look again do", stolen)
		warm.trusted(t, r, func(verifier) bool { return false })
		fresh := open(t, tn, alg)
		fresh.refuse(t, "a revoked key's token, seen for the first time", stolen)
		fresh.accept(t, "a token of the standby, seen for the first time", after)
	})
}

// TestRevocationFresh: the key that takes over is one that no cache has. Its
// first token makes well-behaved verifiers look again, and those that replace
// their set then drop the revoked key.
func TestRevocationFresh(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, alg string) {
		tn := byHand(t, alg)
		stolen := tn.token(t, alg)
		warm := open(t, tn, alg)
		warm.accept(t, "a token before the revocation", stolen)

		r, err := tn.revoke(t.Context(), stolen, "fresh")
		if err != nil {
			t.Fatal(err)
		}
		after := tn.token(t, alg)
		if after.KID != r.Replacement.KID {
			t.Fatalf("key %s signs, not the fresh %s", after.KID, r.Replacement.KID)
		}
		warm.accept(t, "a revoked key's token, before it met one of the fresh key", stolen)
		warm.meetUnknown(t, after)
		warm.those(drops).refuse(t, "a revoked key's token, after it met one of the fresh key", stolen)
		warm.those(keeps).accept(t, "a revoked key's token, as caches that drop nothing do", stolen)
		warm.trusted(t, r, drops)
		fresh := open(t, tn, alg)
		fresh.refuse(t, "a revoked key's token, seen for the first time", stolen)
		fresh.accept(t, "a token of the fresh key, seen for the first time", after)
	})
}

// drops says that an unknown kid makes the verifier forget keys that are gone.
func drops(v verifier) bool { return v.replaces && v.unknownKID != waits }

func keeps(v verifier) bool { return !drops(v) }

// trusted compares what Keyward said about each verifier with what it did:
// those that forgot were to end at a fresh token, the others have time left.
func (vs verifiers) trusted(t *testing.T, r revocation, forgot func(verifier) bool) {
	t.Helper()
	for _, v := range vs.those(func(v verifier) bool { return v.example != "" }) {
		i := slices.IndexFunc(r.TrustedUntil, func(s trust) bool { return slices.Contains(s.Examples, v.example) })
		if i < 0 {
			t.Errorf("trusted_until does not speak of %s", v.example)
			continue
		}
		said := r.TrustedUntil[i]
		if said.EndsAtFreshToken != forgot(v) {
			t.Errorf("trusted_until of %s: ends_at_fresh_token is %v", v.name, said.EndsAtFreshToken)
		}
		if said.Until != nil && time.Now().After(*said.Until) {
			t.Errorf("trusted_until of %s is over at %v", v.name, said.Until)
		}
	}
}
