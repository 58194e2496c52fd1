package interop

import (
	"slices"
	"testing"
)

// longest is the lifetime of the tokens that wait for rotations, in seconds.
const longest = 40

// inSeconds is a tenant whose keys live for seconds: a key signs for 10 and stays
// published for as long as a token of it may live. Less would do, but not on a
// busy machine.
func inSeconds(t *testing.T, alg string) *tenant {
	t.Helper()
	return newTenant(t, object{
		"jwks_max_age_seconds": 1, "jwks_stale_while_revalidate_seconds": 0, "clock_skew_seconds": 0,
		"policies": []object{{
			"alg": alg, "rotation_interval_seconds": 10, "publish_lead_seconds": 2, "grace_period_seconds": longest,
			"default_token_ttl_seconds": 10, "max_token_ttl_seconds": longest, "purge_after_seconds": 3600,
		}},
	})
}

// TestScheduledRotation never asks for a rotation: the worker does it. From the
// first token of one key to the first of the next, no verifier fails. Then the
// first key expires, and with it what it signed.
func TestScheduledRotation(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, alg string) {
		tn := inSeconds(t, alg)
		old := tn.lasting(t, alg)
		warm := open(t, tn, alg)
		var current token
		eventually(t, "another key signs", func() bool {
			current = tn.token(t, alg)
			warm.accept(t, "a token as a key follows another", current)
			return current.KID != old.KID || t.Failed()
		})
		warm.accept(t, "an old token after the worker's rotation", old)
		open(t, tn, alg).accept(t, "an old token, seen for the first time", old)

		expire(t, tn, old.KID)
		fresh := open(t, tn, alg)
		fresh.refuse(t, "a token of an expired key", old)
		fresh.accept(t, "a token after a key expired", tn.token(t, alg))
	})
}

// expire waits until the key is expired and out of the JWKS.
func expire(t *testing.T, tn *tenant, kid string) {
	t.Helper()
	eventually(t, "key "+kid+" is expired", func() bool {
		return answer[key](t, "GET", tn.path("/keys/"+kid), nil).State == "expired"
	})
	eventually(t, "key "+kid+" has left the JWKS", func() bool {
		return !slices.Contains(tn.published(t), kid)
	})
}
