package main

import (
	"fmt"
	"testing"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
)

// A policy without a key is found in any stretch, and the loop ends.
func TestPoliciesWithoutKeysAreFoundInStretches(t *testing.T) {
	deployed := deployed(t)
	env := servedOn(t, deployed)
	for _, slug := range []string{"a", "b", "c", "d", "e"} {
		ok(t, env, "tenant", "create", slug, "--alg=ES256", "--alg=EdDSA")
	}
	url := deployed["KEYWARD_DATABASE_URL"]
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, stretch := range []int32{1, 2, 3, 100} {
		if broken, err := policiesWithoutKeys(t.Context(), d, stretch); err != nil || len(broken) != 0 {
			t.Errorf("in stretches of %d: %v, %v", stretch, broken, err)
		}
		for _, slug := range []string{"a", "c", "e", "platform"} {
			const lose = "SET session_replication_role = replica; UPDATE keys SET alg = '%s' WHERE alg = '%s' AND state = 'standby' AND tenant_id = (SELECT id FROM tenants WHERE slug = '%s')"
			dbtest.Exec(t, url, fmt.Sprintf(lose, "ES512", "ES256", slug))
			broken, err := policiesWithoutKeys(t.Context(), d, stretch)
			if err != nil || len(broken) != 1 || broken[0].Slug != slug || broken[0].Alg != "ES256" {
				t.Errorf("in stretches of %d: %v, %v; %s lacks a %s", stretch, broken, err, slug, keys.Standby)
			}
			dbtest.Exec(t, url, fmt.Sprintf(lose, "ES256", "ES512", slug))
		}
	}
}
