package jwks_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// steppingClock is a wall clock that can be set, while the monotonic clock, here
// that of the test's bubble, goes on.
type steppingClock struct{ offset time.Duration }

func (c *steppingClock) now() time.Time { return time.Now().Add(c.offset).Round(0) }

// A wall clock that is set back or forward neither keeps a revoked key longer than
// the set's age, nor stops fetches.
func TestAWallClockThatSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"an hour back": -time.Hour, "a day back": -24 * time.Hour, "two seconds back": -2 * time.Second, "to 1970": -30 * 365 * 24 * time.Hour,
		"a minute ahead": time.Minute, "a year ahead": 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wall := &steppingClock{}
				issuer := jwkstest.New(issuerURL, "ES256", "EdDSA")
				client := newClient(t, issuer, jwks.Config{Now: wall.now})
				wants(t, client, "1", nil)
				issuer.Revoke("1")
				wall.offset = step
				time.Sleep(300 * time.Second)
				wants(t, client, "1", jwks.ErrSigningKeyNotFound)
				wants(t, client, "2", nil)
				if age, ok := client.Age(); !ok || age < 0 || age > time.Minute {
					t.Errorf("age %v", age)
				}
			})
		})
	}
}

// A clock that goes backwards alone, as in a test with a clock of its own, makes
// an age unknown, and so too old.
func TestAClockThatOnlyGoesBack(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	issuer := jwkstest.New(issuerURL, "ES256", "EdDSA")
	client := newClient(t, issuer, jwks.Config{Now: func() time.Time { return now }})
	wants(t, client, "1", nil)
	issuer.Revoke("1")
	now = now.Add(-7 * time.Hour)
	wants(t, client, "1", jwks.ErrSigningKeyNotFound)
	requests(t, issuer, 2)
	for range 100 { // and it is believed from then on
		wants(t, client, "2", nil)
	}
	requests(t, issuer, 2)
}

// A set at hand is used during an outage by the monotonic clock, whatever the wall
// clock does.
func TestAClockThatStepsDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall := &steppingClock{}
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{Now: wall.now, StaleIfError: time.Hour})
		wants(t, client, "1", nil)
		issuer.Answer(down)
		wall.offset = -10 * time.Hour
		wants(t, client, "1", nil)
		time.Sleep(64 * time.Minute) // of 5 min and an hour
		wants(t, client, "1", nil)
		time.Sleep(2 * time.Minute)
		wants(t, client, "1", jwks.ErrJWKS)
		wall.offset = -20 * time.Hour // a back-off that waits for the wall clock would last ten hours
		issuer.Answer(nil)
		time.Sleep(time.Minute)
		wants(t, client, "1", nil)
	})
}

// Waits between fetches end in time too: the cool-down after an unknown kid, the
// budgets, and the belief in metadata.
func TestWaitsWithAClockThatSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wall := &steppingClock{}
				issuer := jwkstest.New(issuerURL)
				client := newClient(t, issuer, jwks.Config{Now: wall.now, UnknownKidsPerMinute: 1})
				wants(t, client, "1", nil)
				wants(t, client, "2", jwks.ErrSigningKeyNotFound)
				issuer.Add("2", "ES256")
				wall.offset = step
				time.Sleep(time.Minute)
				wants(t, client, "2", nil)

				client = newClient(t, issuer, jwks.Config{Now: wall.now, NoCache: true, RateLimit: true, RequestsPerMinute: 1})
				wants(t, client, "1", nil)
				wall.offset += step
				time.Sleep(time.Minute)
				wants(t, client, "1", nil)
			})
		})
	}
}

// Tokens are judged by the wall clock, which is what exp means.
func TestTokensAreJudgedByTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall := &steppingClock{}
		issuer := jwkstest.New(issuerURL)
		verifier := newVerifier(t, issuer, jwks.VerifierConfig{Now: wall.now})
		raw := issuer.Token("1", jwkstest.Claims{"aud": "orders"})
		for _, test := range []struct {
			offset time.Duration
			want   error
		}{{0, nil}, {time.Hour, jwks.ErrExpired}, {0, nil}} {
			wall.offset = test.offset
			if _, err := verifier.Verify(t.Context(), raw); !errors.Is(err, test.want) {
				t.Errorf("%v: %v", test.offset, err)
			}
		}
	})
}

// While a stale set may be used, an issuer that hangs costs a caller half a second
// at most, and that once in each fetch.
func TestAnIssuerThatHangsCostsNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{StaleIfError: time.Hour})
		wants(t, client, "1", nil)
		issuer.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		time.Sleep(10 * time.Minute) // expired, and nobody has asked meanwhile
		for n := range 100 {
			start := time.Now()
			wants(t, client, "1", nil)
			if waited := time.Since(start); waited > 500*time.Millisecond || n > 0 && waited > 0 {
				t.Fatalf("lookup %d waited %s", n, waited)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if client.Stats().Stale != 100 {
			t.Errorf("%+v", client.Stats())
		}
		time.Sleep(time.Minute)
		issuer.Answer(nil)
		wants(t, client, "1", nil)
		synctest.Wait()
		if age, _ := client.Age(); age > time.Second {
			t.Errorf("the fetch was given up, the set is %s old", age)
		}
	})
}

// Forged signatures, which anybody can send, do not wait for an issuer that hangs, and
// made-up kids do so in its first fetch alone.
func TestForgedTokensDoNotWaitForAnIssuerThatHangs(t *testing.T) {
	for name, test := range map[string]struct {
		kid  string
		want []error
		wait time.Duration // in the first fetch
	}{"a signature": {"1", []error{jwks.ErrSignature}, 500 * time.Millisecond}, "a kid": {"2", []error{jwks.ErrJWKS}, 30 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer, stranger := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
				stranger.Add("2", "ES256")
				verifier := newVerifier(t, issuer, jwks.VerifierConfig{Keys: jwks.Config{StaleIfError: time.Hour}})
				verify := func(of *jwkstest.Issuer, kid string, wait time.Duration, want ...error) {
					t.Helper()
					start := time.Now()
					_, err := verifier.Verify(t.Context(), of.Token(kid, jwkstest.Claims{"aud": "orders"}))
					if waited := time.Since(start); waited > wait {
						t.Errorf("waited %s for %v", waited, err)
					}
					if len(want) == 0 && err != nil || len(want) > 0 && !errors.Is(err, want[0]) {
						t.Errorf("%v, want %v", err, want)
					}
				}
				verify(issuer, "1", 0)
				time.Sleep(time.Minute)
				issuer.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
				verify(stranger, test.kid, test.wait, test.want...)
				time.Sleep(time.Minute) // the fetch has ended, and so has the wait after it
				for range 10 {
					verify(stranger, test.kid, 500*time.Millisecond, test.want...)
					verify(issuer, "1", 500*time.Millisecond)
					time.Sleep(10 * time.Second)
				}
				issuer.Answer(nil)
				time.Sleep(2 * time.Minute)
				verify(issuer, "1", 500*time.Millisecond)
			})
		})
	}
}

// Where there is nothing else, callers wait for a slow issuer.
func TestASlowIssuerIsWaitedForIfThereIsNoOtherSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(20 * time.Second)
			_, _ = w.Write(issuer.JWKS())
		})
		wants(t, newClient(t, issuer, jwks.Config{StaleIfError: time.Hour}), "1", nil)
	})
}
