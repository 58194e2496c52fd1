package main

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/client"
)

// A dry run prints its effect as text and as the API's JSON, asks nothing and
// changes nothing, also if the operation needs an approval.
func TestDryRuns(t *testing.T) {
	env := served(t)
	env["KEYWARD_TENANT"] = "acme"
	ok(t, env, "policy", "put", "ES256", "--default")
	ok(t, env, "tenant", "update", "acme", "--approval-required=revoke_all")
	ok(t, env, "token", "sign", "--alg=EdDSA", "--ttl=10m")
	state := func() string {
		return ok(t, env, "key", "list", "--json") + ok(t, env, "policy", "list", "--json") + ok(t, env, "approval", "list", "--json")
	}
	of := func(alg, state string) string {
		return okJSON[client.KeyList](t, env, "key", "list", "--alg="+alg, "--state="+state).Items[0].KID
	}
	active, standby := of("EdDSA", "active"), of("EdDSA", "standby")
	eventually(t, "evidence of the signature, which is written down meanwhile", func() bool {
		ok(t, env, "key", "revoke", "--dry-run", "--reason=superseded", "--", active) // which stores the evidence, unless a flush is running
		return okJSON[client.KeyList](t, env, "key", "list", "--alg=EdDSA", "--state=active").Items[0].LastSignedAt != nil
	})
	before := state()
	const nothing = "Nothing was changed (--dry-run)."
	for _, c := range []struct {
		command string
		said    []string
		member  string // of the JSON answer
	}{
		{"key rotate --alg=EdDSA", []string{"key.activated", standby, "deprecated"}, `"published_seconds":`},
		{"policy put RS256 --rsa-bits=3072", []string{"would be created", "RS256", "3072", "key.created", "standby"}, `"created":true`},
		{"policy put EdDSA --rotation-interval=14d", []string{"would be replaced", "14d", active, standby}, `"created":false`},
		{"policy retire EdDSA", []string{"key.revoked", standby, active, "expired"}, `"jwks_after":`},
		{"key revoke --reason=superseded -- " + active, []string{active, "revoked", standby, "would leave the JWKS at once: tokens signed here live until", "MAY STILL TRUST IT"}, `"dry_run":true`},
		{"key revoke --reason=superseded --alg=EdDSA", []string{active, "revoked", standby}, `"dry_run":true`},
		{"key revoke --reason=compromised -- " + active, []string{"A fresh key that no verifier has seen will sign"}, `"mode":"fresh"`},
		{"key revoke-all --reason=compromised", []string{active, standby, "4 keys would leave", "tokens signed here live until", "MAY STILL TRUST IT"}, `"dry_run":true`},
	} {
		dry := func(flags string) result {
			words := strings.Fields(c.command)
			return keyward(t, env, append(append(words[:2:2], strings.Fields(flags)...), words[2:]...)...)
		}
		r := dry("--dry-run")
		if r.want(t, exitOK, append(c.said, nothing)...); r.stderr != "" {
			t.Errorf("%s: %s", c.command, r.stderr)
		}
		r = dry("--dry-run --json")
		r.want(t, exitOK, c.member)
		var answer map[string]any
		if unmarshal(t, []byte(r.stdout), &answer); r.stderr != "" {
			t.Errorf("%s: %s", c.command, r.stderr)
		}
	}
	keyward(t, env, "key", "revoke", "--dry-run", "--reason=superseded", "nobody").want(t, exitFailed, "key_not_found")
	keyward(t, env, "policy", "put", "EdDSA", "--dry-run", "--publish-lead=1s").want(t, exitFailed, "policy_violation")
	keyward(t, env, "policy", "retire", "ES256", "--dry-run").want(t, exitFailed, "conflict")
	if after := state(); after != before {
		t.Errorf("something was changed:\n%s\n%s", before, after)
	}
}
