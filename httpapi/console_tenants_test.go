package httpapi

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// Tenants are listed by algorithm and by problem, page by page and each once, and the console
// puts those with a problem before all others, however old they are.
func TestTenantsByProblem(t *testing.T) {
	w := newWorld(t)
	for _, slug := range []string{"lonely", "late", "quiet", "old", "gone", "big", "nearly-big"} {
		w.tenant(slug)
	}
	for i := range tenant.LargeSet - 1 { // with the standby one key less than a large set, and one more
		if i > 0 {
			w.do("POST", "/v1/tenants/nearly-big/keys/rotate", w.root, "").ok(200)
		}
		w.do("POST", "/v1/tenants/big/keys/rotate", w.root, "").ok(200)
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
		"problem=large_set": "big", "problem=large_set&alg=RS256": "", "problem=large_set&q=ea": "", "problem=large_set&q=BI&alg=ES256": "big", "problem=verifiers_behind": "",
		"q=l&alg=RS256": "old", "q=fine-&alg=RS256": "fine-a", "q=a&alg=RS256&status=active": "fine-a", "q=a&alg=RS256&status=suspended": "", "alg=RS256&status=active": "fine-a old",
		"q=l&problem=no_standby": "lonely", "q=x&problem=no_standby": "", "q=LAT&problem=overdue": "late", "status=suspended&problem=overdue": "", "q=ui&problem=suspended": "quiet",
		"status=active&problem=suspended": "", "status=suspended&problem=suspended": "quiet", "q=o&problem=old_algorithm": "old", "q=fine&problem=old_algorithm": "",
		"status=suspended&problem=old_algorithm": "", "status=suspended&alg=ES256": "quiet", "status=active&alg=ES256&q=quiet": "",
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
	if len(seen) != 28 || seen["fine-a"] != 1 || seen["platform"] != 1 || seen["gone"] != 0 {
		t.Errorf("pages have %v", seen)
	}
	for _, query := range []string{"problem=bad", "alg=HS256", "status=deleted&alg=ES256"} {
		w.do("GET", "/v1/tenants?"+query, w.root, "").problem(ProblemCodeInvalidRequest)
	}

	s := w.signedIn(w.root)
	p := s.get("/console/tenants").is(http.StatusOK).has("Problems first, of all tenants", "All, newest first", "Suspended: nothing is signed", "no standby key")
	_, first, _ := strings.Cut(p.Body, "Problems first")
	first, rest, _ := strings.Cut(first, "All, newest first")
	for _, slug := range []string{"lonely", "late", "quiet", "big", "old"} {
		if link := `/console/tenants/` + slug + `"`; strings.Count(first, link) != 1 || strings.Contains(rest, link) {
			t.Errorf("%s is not once among the problems", slug)
		}
	}
	s.get("/console/tenants?problem=old_algorithm").is(http.StatusOK).has("tenants/old").lacks("Problems first", "fine-a")
	s.get("/console/tenants?alg=RS256").is(http.StatusOK).has("tenants/old", "tenants/fine-a").lacks("tenants/late")
	s.get("/console/tenants?alg=ML-DSA-44").is(http.StatusOK).has("No tenant matches")
	s.get("/console/tenants?q=a&problem=overdue").is(http.StatusOK).has("tenants/late").lacks("tenants/lonely", "fine-a")
	s.get("/console/tenants?q=a&problem=bad").is(422)
	dbtest.Exec(t, w.dsn, `SET session_replication_role = replica; UPDATE tenants SET status = 'suspended' WHERE slug LIKE 'fine-%'`)
	s.get("/console/tenants").has("All with: ", `href="/console/tenants?problem=suspended"`).lacks("?problem=overdue")
	w.signedIn(w.key(tenant.PlatformAuditor, nil)).get("/console/tenants").is(http.StatusOK).has("Problems first").lacks("New tenant")
	w.clock.pass(time.Second)
}

// A page of tenants asks the database as often for many rows as for few.
func TestTenantsPageAsksTheDatabaseForAllRowsAtOnce(t *testing.T) {
	proxy := dbtest.CountRoundTrips(t, dbtest.New(t))
	w := newWorldOn(t, proxy.DSN)
	w.tenant("acme")
	s := w.signedIn(w.root)
	fewest := func(path string) int64 {
		n := int64(1 << 62) // the listener asks something too, now and then
		for range 5 {
			before := proxy.Count()
			s.get(path).is(http.StatusOK).has("tenants/acme")
			n = min(n, proxy.Count()-before)
		}
		return n
	}
	paths := []string{"/console/tenants", "/console/tenants?q=ac", "/console/incident?q=ac"}
	var few []int64
	for _, path := range paths {
		few = append(few, fewest(path))
	}
	for i := range 8 {
		w.tenant(fmt.Sprintf("fine-ac-%d", i))
	}
	for i, path := range paths {
		if many := fewest(path); many > few[i]+2 {
			t.Errorf("%s asks %d times for ten tenants and %d times for two", path, many, few[i])
		}
	}
}

// What the list of tenants says of a tenant is what the API answers about it.
func TestOverviewsSayWhatTheAPISays(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","policies":[{"alg":"EdDSA"},{"alg":"ES256","default":true,"min_adoption":0.5,"max_adoption_wait_seconds":3600}]}`).ok(201)
	w.tenant("rival")
	w.tenant("forged")
	w.tenant("gone")
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	w.do("POST", "/v1/tenants/acme/keys/revoke", w.root, `{"reason":"superseded","alg":"EdDSA"}`).ok(200)
	w.do("PUT", "/v1/tenants/rival/policies/ES384", w.root, `{}`).ok(201)
	w.do("DELETE", "/v1/tenants/rival/policies/ES384", w.root, "").ok(204)
	for _, agent := range []string{"one", "two", "three"} {
		w.fetches(agent, "")
	}
	if err := w.adoption.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Minute)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	w.fetches("one", "")
	if err := w.adoption.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids := map[string]uuid.UUID{}
	for _, slug := range []string{"acme", "rival", "forged", "gone"} {
		var one Tenant
		w.do("GET", "/v1/tenants/"+slug, w.root, "").ok(200, &one)
		ids[slug] = one.ID
	}
	w.do("DELETE", "/v1/tenants/gone", w.root, "").ok(204)
	w.past("UPDATE policies SET max_token_ttl_seconds = 86399 WHERE tenant_id = '" + ids["forged"].String() + "'")
	text, err := w.server.overviews(t.Context(), slices.Collect(maps.Values(ids)))
	if err != nil {
		t.Fatal(err)
	}
	var all []tenantOverview
	if err := json.Unmarshal(text, &all); err != nil || len(all) != 3 {
		t.Fatalf("%d overviews, %v", len(all), err)
	}
	for _, o := range all {
		if o.TenantID == ids["forged"] {
			if !o.Refused || len(o.Policies)+len(o.Keys) > 0 {
				t.Errorf("rows that are not believed are shown: %+v", o)
			}
			continue
		}
		base := "/v1/tenants/" + o.TenantID.String()
		var policies PolicyList
		w.do("GET", base+"/policies", w.root, "").ok(200, &policies)
		if !reflect.DeepEqual(o.Policies, policies.Items) {
			t.Errorf("policies %+v, want %+v", o.Policies, policies.Items)
		}
		var keys KeyList
		w.do("GET", base+"/keys?valid_at="+url.QueryEscape(w.clock.now().Format(time.RFC3339Nano)), w.root, "").ok(200, &keys)
		var adopted []KeyAdoption
		for i, k := range keys.Items {
			keys.Items[i].PublicJWK = nil
			if k.State == KeyStateStandby {
				var a KeyAdoption
				w.do("GET", base+"/keys/"+k.KID+"/adoption", w.root, "").ok(200, &a)
				a.Stragglers = []Straggler{}
				adopted = append(adopted, a)
			}
		}
		if !reflect.DeepEqual(o.Keys, keys.Items) || len(keys.Items) < 2 {
			t.Errorf("keys %+v, want %+v", o.Keys, keys.Items)
		}
		for _, a := range adopted {
			i := slices.IndexFunc(o.Adoption, func(b KeyAdoption) bool { return b.KID == a.KID })
			if i < 0 || !reflect.DeepEqual(o.Adoption[i], a) {
				t.Errorf("adoption %+v, want %+v", o.Adoption, a)
			}
		}
		if o.TenantID == ids["acme"] && (o.Adoption[0].Fetchers != 3 || o.Adoption[0].Adopted+o.Adoption[1].Adopted < 1) {
			t.Errorf("%+v: three verifiers came", o.Adoption)
		}
	}
}

// A search that does not come to an end on a page says so, and leads on.
func TestUnfinishedSearchLeadsOn(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	dbtest.Exec(t, w.dsn, `SET session_replication_role = replica;
		INSERT INTO tenants (id, slug, name, search_text, audit_seq, audit_hash, created_at, updated_at)
		SELECT ('01800000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'crowd-' || i, '', 'crowd-' || i || CASE WHEN i <= 14000 THEN ' veteran' ELSE '' END, 1, sha256('0'),
			timestamptz '2020-01-01Z' + i * interval '1 second', now()
		FROM generate_series(1, 35000) i; ANALYZE tenants`)
	s := w.signedIn(w.root)
	for _, path := range []string{"/console/tenants?q=veteran", "/console/incident?q=veteran"} {
		p := s.get(path).is(http.StatusOK).has("Search older ones").lacks("No tenant matches<", "No tenant matches.")
		link := regexp.MustCompile(`href="(/console/(?:tenants|incident)\?[^"]*)">Search older ones`).FindStringSubmatch(p.Body)
		if link == nil {
			t.Fatalf("%s leads nowhere", path)
		}
		next := s.get(html.UnescapeString(link[1])).is(http.StatusOK)
		if strings.Contains(path, "incident") {
			next.has("crowd-14000", "crowd-13981", "Look at more tenants").lacks("crowd-14001", "crowd-13980")
			continue
		}
		next.has("not readable", `tenants/crowd-14000"`, `tenants/crowd-13981"`).lacks("crowd-14001", "crowd-13980")
		link = regexp.MustCompile(`href="(/console/tenants\?[^"]*)">Next page`).FindStringSubmatch(next.Body)
		s.get(html.UnescapeString(link[1])).is(http.StatusOK).has(`tenants/crowd-13980"`, `value="veteran"`).lacks("crowd-13981")
	}
}
