package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

// list is an operation of the document that answers in pages.
type list struct {
	url   string
	param string // that takes the cursor
	next  string // a cursor of its own
	items map[string]bool
}

// place is where a list is: things by the path they are below, for one tenant.
type place struct {
	tenant string
	things map[string]string
}

// inhabited has two tenants and a platform with more than one of everything that
// is listed, and a deleted tenant. The first place is that of acme.
func (w *world) inhabited() (places []place) {
	w.t.Helper()
	var gone Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"gone"}`).ok(201, &gone)
	w.do("DELETE", "/v1/tenants/gone", w.root, "").ok(204)
	r := newReceiver(w.t)
	ofAll := w.hook("/v1/webhooks", w.root, `{"url":"`+r.url+`"}`).ID
	w.hook("/v1/webhooks", w.root, `{"url":"`+r.url+`"}`)
	for range 2 {
		w.do("POST", "/v1/api-keys", w.root, `{"role":"platform_auditor"}`).ok(201)
	}
	for _, slug := range []string{"acme", "other"} {
		w.do("POST", "/v1/tenants", w.root, `{"slug":"`+slug+`","approval_required":["purge"]}`).ok(201)
		var (
			hook     Webhook
			approval Approval
			key      CreatedAPIKey
			workload WorkloadIdentity
		)
		for range 2 {
			hook = w.hook("/v1/tenants/"+slug+"/webhooks", w.root, `{"url":"`+r.url+`"}`)
			w.do("POST", "/v1/tenants/"+slug+"/api-keys", w.root, `{"role":"tenant_auditor"}`).ok(201, &key)
			w.do("POST", "/v1/tenants/"+slug+"/keys/purge", w.root, "").ok(202, &approval)
		}
		for _, name := range []string{"ci", "deployer"} {
			workload = w.workload("/v1/tenants/"+slug, strings.Replace(aWorkload, "ci", name, 1))
		}
		for _, host := range []string{"login", "keys"} {
			w.do("POST", "/v1/tenants/"+slug+"/domains", w.root, `{"domain":"`+host+"."+slug+`.example"}`).ok(201)
		}
		w.do("POST", "/v1/tenants/"+slug+"/keys/rotate", w.root, "{}").ok(200)
		places = append(places, place{slug, map[string]string{
			"/v1/tenants/{tenant}/webhooks": hook.ID.String(), "/v1/tenants/{tenant}/approvals": approval.ID.String(),
			"/v1/tenants/{tenant}/workload-identities": workload.ID.String(),
			"/v1/tenants/{tenant}/keys":                w.keys(slug, KeyStateActive)[0].KID, "/v1/webhooks": ofAll.String(), "/v1/tenants": gone.ID.String(),
		}})
	}
	w.deliver()
	return places
}

// at is the errand where it finds what it is about.
func (e errand) at(p place) errand {
	e.things = map[string]string{"tenant": p.tenant, "alg": "ES256", "asset": "start.js"}
	for path := e.path; path != ""; path = path[:strings.LastIndexByte(path, '/')] {
		if id, ok := p.things[path]; ok && path != e.path {
			e.things["id"], e.things["kid"] = id, id
			break
		}
	}
	return e
}

// lists are all that the document has; a new one is among them by itself.
func (w *world) lists(p place) (all []*list) {
	w.t.Helper()
	for _, e := range w.errands() {
		answer := e.Responses.Value("200")
		if e.method != "GET" || answer == nil {
			continue
		}
		form := answer.Value.Content["application/json"]
		if form == nil || form.Schema.Value.Properties["next_cursor"] == nil || e.Parameters.GetByInAndName("query", "limit") == nil {
			continue
		}
		l := &list{url: e.at(p).url(), param: "since", items: map[string]bool{}} // the feed's, which is a cursor
		if e.Parameters.GetByInAndName("query", "cursor") != nil {
			l.param = "cursor"
		}
		a := w.do("GET", l.url+"?limit=1", w.root, "").ok(200)
		page := pageOf(w.t, a.body)
		if l.next = page.Next; l.next == "" {
			w.t.Fatalf("%s has one page: inhabited has to fill it", e.OperationID)
		}
		for cursor := ""; ; { // all of it
			page := pageOf(w.t, w.do("GET", l.url+"?limit=500"+cursor, w.root, "").ok(200).body)
			for _, item := range page.Items {
				l.items[identity(w.t, item)] = true
			}
			if page.Next == "" || len(page.Items) == 0 {
				break
			}
			cursor = "&" + l.param + "=" + page.Next
		}
		all = append(all, l)
	}
	return all
}

type page struct {
	Items []json.RawMessage `json:"items"`
	Next  string            `json:"next_cursor"`
}

func pageOf(t testing.TB, body []byte) (p page) {
	t.Helper()
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return p
}

// identity tells the items of a list apart.
func identity(t testing.TB, item []byte) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(item, &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "hash", "kid", "domain", "tenant_id"} {
		if s, ok := v[name].(string); ok {
			return s
		}
	}
	t.Fatalf("nothing names %s", item)
	return ""
}

// tampered demands 400, or a page of what is in this very list: a cursor that
// happens to name another place in it.
func (w *world) tampered(l *list, cursor string) {
	w.t.Helper()
	a := w.do("GET", l.url+"?limit=1&"+l.param+"="+url.QueryEscape(cursor), w.root, "")
	if a.StatusCode == 400 {
		a.problem(ProblemCodeInvalidRequest)
		return
	}
	a.ok(200)
	for _, item := range pageOf(w.t, a.body).Items {
		if !l.items[identity(w.t, item)] {
			w.t.Errorf("%s shows by %.60q what is not in it: %s", l.url, cursor, item)
		}
	}
}

// forged are cursors that no list ever gave.
func forged() (all []string) {
	at := time.Now().UnixMicro()
	for _, n := range []int{1, 7, 8, 16, 24, 32, 40, 64} {
		for _, b := range []byte{0, 0x7f, 0x80, 0xff} {
			all = append(all, base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{b}, n)))
		}
	}
	id := uuid.New()
	for _, text := range []string{
		"0 ", "-1 x", "1e9 x", "9223372036854775807 x", "9223372036854775808 x", "1  x", "1 x\x00", " x", "1 '; --", "NaN x", "null", "{}", "[]", `{"at":0}`,
		string(id[:]), time.Now().Format(time.RFC3339Nano), time.UnixMicro(at).String() + " x", strings.Repeat("9", 300),
	} {
		all = append(all, base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	return append(all, "A", "AA==", "A+/A", "-", "_", "' OR 1=1", "\x00", "%00", "..", "acme", "\u0410", "\xff", " ", strings.Repeat("A", 513), strings.Repeat("A", 9000), id.String())
}

// A cursor is good for the list, the filters and the tenant that it came from;
// whatever else it is made to be, it is refused or shows nothing that is not in
// that list.
func TestCursorTricks(t *testing.T) {
	w := newWorld(t)
	places := w.inhabited()
	lists, others := w.lists(places[0]), w.lists(places[1])
	if len(lists) < 12 {
		t.Fatalf("%d lists", len(lists))
	}
	w.inert(func() {
		for i, l := range lists {
			for _, other := range append(lists, others...) {
				w.tampered(l, other.next)
			}
			w.tampered(others[i], l.next)
			for j := 0; j < len(l.next); j += 1 + len(l.next)/16 {
				w.tampered(l, l.next[:j]+string(flip(l.next[j]))+l.next[j+1:])
				if j > 0 {
					w.tampered(l, l.next[:j])
				}
			}
			for _, cursor := range append(forged(), l.next+"A", l.next+"=", l.next+l.next, " "+l.next, l.next+"\n") {
				w.tampered(l, cursor)
			}
			for _, query := range []string{
				"limit=0", "limit=501", "limit=-1", "limit=1e1", "limit=99999999999999999999", "limit=", "limit=1&limit=2", "cursor=", "order=up",
				l.param + "=" + l.next + "&" + l.param + "=" + l.next,
			} {
				w.do("GET", l.url+"?"+query, w.root, "").problem(ProblemCodeInvalidRequest)
			}
		}
	})
}

func flip(b byte) byte {
	if b == 'A' {
		return 'B'
	}
	return 'A'
}

// A page is no larger than asked for, and pages put together are the list, once.
func TestPagesAreTheList(t *testing.T) {
	w := newWorld(t)
	for _, l := range w.lists(w.inhabited()[0]) {
		seen := map[string]bool{}
		for cursor := ""; ; {
			page := pageOf(t, w.do("GET", l.url+"?limit=1"+cursor, w.root, "").ok(200).body)
			if len(page.Items) > 1 {
				t.Errorf("%s: %d items on a page of one", l.url, len(page.Items))
			}
			for _, item := range page.Items {
				id := identity(t, item)
				if seen[id] {
					t.Errorf("%s: %s twice", l.url, id)
				}
				seen[id] = true
			}
			if page.Next == "" || len(page.Items) == 0 {
				break
			}
			cursor = "&" + l.param + "=" + page.Next
		}
		if len(seen) != len(l.items) {
			t.Errorf("%s: %d items one by one, %d at once", l.url, len(seen), len(l.items))
		}
	}
}

// Roles change nothing about what a list answers for a made-up cursor, and a
// tenant's credential sees nothing by the platform's.
func TestCursorsOfThePlatformInATenant(t *testing.T) {
	w := newWorld(t)
	places := w.inhabited()
	var acme Tenant
	w.do("GET", "/v1/tenants/acme", w.root, "").ok(200, &acme)
	key := w.key(tenant.TenantAuditor, &acme.ID)
	for _, from := range w.lists(places[0]) {
		if strings.Contains(from.url, "/acme") {
			continue
		}
		for _, path := range []string{"/v1/tenants/acme/audit", "/v1/tenants/acme/keys", "/v1/tenants/acme/webhooks", "/v1/tenants/acme/api-keys"} {
			a := w.do("GET", path+"?cursor="+from.next, key, "")
			if a.StatusCode >= 500 || strings.Contains(string(a.body), `"other"`) {
				t.Errorf("%s by a cursor of %s: %d %s", path, from.url, a.StatusCode, a.body)
			}
		}
	}
}
