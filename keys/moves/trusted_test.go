package moves

import (
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/keyward/keyward/tenant"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTrustedUntil(t *testing.T) {
	byClass := func(mode Mode, wasActive bool) map[string]Trust {
		m := map[string]Trust{}
		for _, v := range TrustedUntil(t0, tenant.DefaultCaching, mode, wasActive) {
			if v.Class == "" || len(v.Examples) == 0 || v.Why == "" {
				t.Errorf("says too little: %+v", v)
			}
			m[v.Class] = v
		}
		return m
	}
	quiet, fresh, idle := byClass(StandbyTakesOver, true), byClass(FreshTakesOver, true), byClass(FreshTakesOver, false)

	for class, until := range map[string]time.Duration{
		"follows Cache-Control": 6 * time.Minute, "whole set, 10 minutes": 10 * time.Minute,
		"whole set and verified tokens, 5 minutes each": 10 * time.Minute, "single key, 10 hours": 10 * hour, "whole set, 1 hour": hour,
	} {
		if got := quiet[class].Until; got == nil || !got.Equal(t0.Add(until)) {
			t.Errorf("%s: %v, want %v", class, got, t0.Add(until))
		}
	}
	for class, trust := range quiet { // people read it: no Go duration such as 24h0m0s
		if regexp.MustCompile(`\d(h|m|ms|s)\b`).MatchString(trust.Why) {
			t.Errorf("%s: %s", class, trust.Why)
		}
	}
	oidc := "whole set, no age limit"
	if quiet[oidc].Until != nil || quiet[oidc].EndsAtFreshToken || !fresh[oidc].EndsAtFreshToken {
		t.Error("only an unknown kid makes go-oidc refetch")
	}
	if kept := fresh["whole set, no age limit, kept for max-age at least"]; kept.Until != nil || kept.EndsAtFreshToken || len(kept.Examples) == 0 {
		t.Error("an unknown kid within max-age does not make Kubernetes refetch")
	}
	if fresh["single key, 10 hours"].EndsAtFreshToken || fresh["follows Cache-Control"].EndsAtFreshToken {
		t.Error("a fresh key does not help a verifier that caches single keys or goes by age")
	}
	if !reflect.DeepEqual(idle, quiet) {
		t.Error("no key begins to sign when a key is revoked that was not active")
	}
}
