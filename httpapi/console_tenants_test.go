package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// Tenants are listed by algorithm and by problem, page by page and each once, and the console
// puts those with a problem before all others, however old they are.
func TestTenantsByProblem(t *testing.T) {
	w := newWorld(t)
	for _, slug := range []string{"lonely", "late", "quiet", "old", "gone"} {
		w.tenant(slug)
	}
	for _, slug := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u"} {
		w.tenant("fine-" + slug)
	}
	w.do("PUT", "/v1/tenants/old/policies/RS256", w.root, `{"rsa_bits":2048}`).ok(201)
	w.do("PUT", "/v1/tenants/fine-a/policies/RS256", w.root, `{"rsa_bits":3072}`).ok(201)
	w.do("PATCH", "/v1/tenants/quiet", w.root, `{"status":"suspended"}`).ok(200)
	dbtest.Exec(t, w.dsn, `SET session_replication_role = replica;
		UPDATE policies SET due_at = now() - interval '1 minute' WHERE tenant_id IN (SELECT id FROM tenants WHERE slug IN ('lonely', 'gone'));
		UPDATE keys SET state = 'revoked', revoked_at = published_at, revocation_reason = 'superseded', sealed_private = NULL, data_key_version = NULL
			WHERE state = 'standby' AND tenant_id IN (SELECT id FROM tenants WHERE slug IN ('lonely', 'gone'));
		UPDATE policies SET due_at = now() - interval '1 hour' WHERE tenant_id IN (SELECT id FROM tenants WHERE slug = 'late');
		UPDATE tenants SET status = 'deleted', deleted_at = now() WHERE slug = 'gone'`)
	for query, want := range map[string]string{
		"problem=no_standby": "lonely", "problem=overdue": "late", "problem=suspended": "quiet", "problem=old_algorithm": "old", "alg=RS256": "fine-a old",
		"alg=RS256&problem=old_algorithm": "old", "alg=ES384": "", "alg=ES256&problem=overdue": "late", "alg=RS256&problem=overdue": "", "problem=overdue&limit=1": "late",
		"alg=ES256&problem=suspended": "quiet", "alg=RS256&problem=suspended": "", "alg=RS256&problem=no_standby": "", "alg=ES256&problem=old_algorithm": "",
	} {
		var list TenantList
		w.do("GET", "/v1/tenants?"+query, w.root, "").ok(200, &list)
		var slugs []string
		for _, item := range list.Items {
			slugs = append(slugs, item.Slug)
		}
		if got := strings.Join(slugs, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	seen, cursor := map[string]int{}, ""
	for {
		var list TenantList
		w.do("GET", "/v1/tenants?alg=ES256&limit=4"+cursor, w.root, "").ok(200, &list)
		for _, item := range list.Items {
			seen[item.Slug]++
		}
		if list.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *list.NextCursor
	}
	if len(seen) != 26 || seen["fine-a"] != 1 || seen["platform"] != 1 || seen["gone"] != 0 {
		t.Errorf("pages have %v", seen)
	}
	for _, query := range []string{"q=a&alg=ES256", "status=active&problem=overdue", "problem=bad", "alg=HS256"} {
		w.do("GET", "/v1/tenants?"+query, w.root, "").problem(ProblemCodeInvalidRequest)
	}

	s := w.signedIn(w.root)
	p := s.get("/console/tenants").is(http.StatusOK).has("Problems first, of all tenants", "All, newest first", "Suspended: nothing is signed", "no standby key")
	_, first, _ := strings.Cut(p.Body, "Problems first")
	first, rest, _ := strings.Cut(first, "All, newest first")
	for _, slug := range []string{"lonely", "late", "quiet"} {
		if link := `/console/tenants/` + slug + `"`; strings.Count(first, link) != 1 || strings.Contains(rest, link) {
			t.Errorf("%s is not once among the problems", slug)
		}
	}
	s.get("/console/tenants?problem=old_algorithm").is(http.StatusOK).has("tenants/old").lacks("Problems first", "fine-a")
	s.get("/console/tenants?alg=RS256").is(http.StatusOK).has("tenants/old", "tenants/fine-a").lacks("tenants/late")
	s.get("/console/tenants?alg=ML-DSA-44").is(http.StatusOK).has("No tenant matches")
	s.get("/console/tenants?q=a&problem=overdue").is(422).has("Search by name and status, or by algorithm and problem")
	w.signedIn(w.key(tenant.PlatformAuditor, nil)).get("/console/tenants").is(http.StatusOK).has("Problems first").lacks("New tenant")
	w.clock.pass(time.Second)
}
