package jwks_test

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// Keys come and go while many verify: a token of a published key is never
// refused, one of a revoked key is after the next fetch.
func TestRotationUnderLoad(t *testing.T) {
	issuer := jwkstest.New(issuerURL, "EdDSA")
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{Keys: jwks.Config{UnknownKidsPerMinute: 1_000_000, Cooldown: time.Nanosecond}})
	var current atomic.Pointer[string]
	sign := func(kid string) *string {
		raw := issuer.Token(kid, jwkstest.Claims{"aud": "orders"})
		return &raw
	}
	current.Store(sign("1"))
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := verifier.Verify(t.Context(), *current.Load()); err != nil {
					t.Errorf("a good token: %v", err)
					return
				}
			}
		})
	}
	for n := 2; n <= 20; n++ {
		issuer.Add(strconv.Itoa(n), "EdDSA")
		current.Store(sign(strconv.Itoa(n)))
		if _, err := verifier.Verify(t.Context(), *current.Load()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	all.Wait()

	old := *sign("1")
	issuer.Revoke("1")
	issuer.Add("last", "EdDSA")
	if _, err := verifier.Verify(t.Context(), *sign("last")); err != nil {
		t.Error(err)
	}
	if _, err := verifier.Verify(t.Context(), old); !errors.Is(err, jwks.ErrSigningKeyNotFound) {
		t.Errorf("a token of a revoked key: %v", err)
	}
}
