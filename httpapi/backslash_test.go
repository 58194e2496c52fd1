package httpapi

import (
	"net/url"
	"testing"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// In a database or for a login that has standard_conforming_strings off, where a
// backslash in a literal escapes, migrations make the same schema and every change works.
func TestEscapeStringSyntaxOfOldPrograms(t *testing.T) {
	for when, dsn := range map[string]string{"after the migrations": dbtest.New(t), "before them": dbtest.Empty(t)} {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		dbtest.Exec(t, dsn, "ALTER DATABASE "+u.Path[1:]+" SET standard_conforming_strings = off")
		if err := db.Migrate(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
		w := newWorldOn(t, dsn)
		if got := scalar[string](w, "SHOW standard_conforming_strings"); got != "off" {
			t.Fatalf("standard_conforming_strings is %s", got)
		}
		var made Tenant
		w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","name":"a\\b'c","jwks_path":"auth/keys","metadata":{"x":"\\"},"policies":[{"alg":"ES256"},{"alg":"RS256","default":true}]}`).ok(201, &made)
		var found TenantList
		for _, q := range []string{`\`, `a\b`, `\b'`, `a\b'c`} {
			if w.do("GET", "/v1/tenants?q="+url.QueryEscape(q), w.root, "").ok(200, &found); len(found.Items) != 1 {
				t.Errorf("%s: %q finds %d tenants", when, q, len(found.Items))
			}
		}
		w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"\\\\","freeze_windows":[]}`).ok(200)
		w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{"reason":"\\"}`).ok(200)
		w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"compromised","comment":"\\'"}`).ok(200)
		var signed SignedToken
		w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{"sub":"\\"}}`).ok(200, &signed)
		w.do("POST", "/v1/tenants/acme/data-key/rotate", w.root, "").ok(200)
		w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
		if faults, err := w.db.Guards(t.Context()); err != nil || len(faults.Missing)+len(faults.Extra) > 0 {
			t.Errorf("%s: guards %+v, %v", when, faults, err)
		}
	}
}
