package httpapi

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/moves"
)

// However many tenants take all the slots that they can get, a tenant that comes later
// gets some, and so does the platform.
func TestGreedyTenantsLeaveSlots(t *testing.T) {
	for what, most := range map[string]int{"event stream": 1000, "key event stream": 10_000, "audit export": exportsAtOnce} {
		s, err := newSlotPool(nil, what, "", most, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		takeAll := func() (n int) {
			id := uuid.New()
			for ; ; n++ {
				if _, err := s.takeSlot(&id); err != nil {
					var p *Problem
					if !errors.As(err, &p) || p.Code != ProblemCodeRateLimited {
						t.Errorf("%s: %v", what, err)
					}
					return n
				}
			}
		}
		if n := takeAll(); n != most/10 {
			t.Errorf("%s: one tenant alone gets %d of %d", what, n, most)
		}
		for i := range min(20, most/4) {
			if n := takeAll(); n < 1 || n > most/10 {
				t.Errorf("%s: after %d greedy tenants the next gets %d of %d", what, i+1, n, most)
			}
		}
		if _, err := s.takeSlot(nil); err != nil {
			t.Errorf("%s: the platform gets none: %v", what, err)
		}
	}
}

func TestRateOfRSAKeysSaysWhenToComeBack(t *testing.T) {
	if got := retryAfter(&moves.RateError{RetryAfter: 90 * time.Second}); got != "90" {
		t.Errorf("Retry-After: %s", got)
	}
}

// A tenant that takes RSA keys without end gets 429 and says when to come back; another
// tenant notices nothing, and a revocation is not refused.
func TestTenantsShareOfRSAKeys(t *testing.T) {
	generator := moves.NewGenerator(moves.GeneratorConfig{Ready: 1, Every: time.Hour, Burst: 3})
	t.Cleanup(generator.Close)
	w := newWorldLike(t, dbtest.New(t), func(*Config) {}, func(c *moves.Config) { c.Generator, c.MaxKeys = generator, 9 })
	for _, slug := range []string{"attacker", "victim"} {
		w.do("POST", "/v1/tenants", w.root, `{"slug":"`+slug+`","policies":[{"alg":"RS256","default":true}]}`).ok(201)
	}
	rotate := func(slug string) *answer { return w.do("POST", "/v1/tenants/"+slug+"/keys/rotate", w.root, `{}`) }
	for range 3 {
		rotate("attacker").ok(200)
	}
	a := rotate("attacker")
	if a.problem(ProblemCodeRateLimited); a.Header.Get("Retry-After") == "" {
		t.Errorf("%v", a.Header)
	}
	w.do("PUT", "/v1/tenants/attacker/policies/PS256", w.root, `{}`).problem(ProblemCodeRateLimited)
	rotate("victim").ok(200)
	w.do("POST", "/v1/tenants/attacker/keys/revoke-all", w.root, `{"reason":"compromised"}`).ok(200)
	w.do("PUT", "/v1/tenants/attacker/policies/ES256", w.root, `{}`).ok(201) // seven keys, and two more
	w.do("POST", "/v1/tenants/attacker/keys/rotate", w.root, `{"alg":"ES256"}`).problem(ProblemCodePolicyViolation)
}
