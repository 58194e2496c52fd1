package httpapi

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"
)

// feed follows the feed from a cursor to its end.
func (w *world) feed(since string) (items []FeedItem, next string) {
	w.t.Helper()
	for next = since; ; {
		path := "/v1/jwks-feed?limit=2"
		if next != "" {
			path += "&since=" + next
		}
		var page JWKSFeed
		w.do("GET", path, w.root, "").ok(200, &page)
		items, next = append(items, page.Items...), page.NextCursor
		if len(page.Items) == 0 {
			return items, next
		}
	}
}

// A gateway that follows the feed has what the JWKS path serves: everything at
// first, then what changed, once however often, and the deleted as such.
func TestFleetFeed(t *testing.T) {
	w := newWorld(t)
	for _, slug := range []string{"one", "two", "three"} {
		w.tenant(slug)
	}
	items, next := w.feed("")
	if len(items) != 4 {
		t.Fatalf("%d tenants at first", len(items))
	}
	for _, i := range items {
		if served := w.do("GET", "/t/"+i.Tenant+"/.well-known/jwks.json", "", "").ok(200).body; string(served) != string(i.JWKS) {
			t.Errorf("%s: %s in the feed, %s served", i.Tenant, i.JWKS, served)
		}
	}
	for range 3 {
		w.do("POST", "/v1/tenants/two/keys/rotate", w.root, "").ok(200)
	}
	w.do("POST", "/v1/tenants/one/api-keys", w.root, `{"role":"tenant_signer","name":"x"}`).ok(201)
	w.do("DELETE", "/v1/tenants/three", w.root, "").ok(204)
	items, next = w.feed(next)
	if len(items) != 2 || items[0].Tenant != "two" || items[1].Tenant != "three" || !valueOr(items[1].Deleted, false) || string(items[1].JWKS) != `{"keys":[]}` {
		t.Errorf("%+v", items)
	}
	for _, bad := range []string{"x", "AAAA", next + "A", "AgAAAAAAAAAAf_________8AAAAAAAAAAAAAAAAAAAAA", "AgAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		w.do("GET", "/v1/jwks-feed?since="+bad, w.root, "").problem(ProblemCodeInvalidRequest)
	}
}

// A change that commits late is told late, and nothing behind it before: a
// transaction that began early holds back those that overtook it.
func TestFleetFeedMissesNoLateCommit(t *testing.T) {
	w := newWorld(t)
	early := w.tenant("early")
	w.tenant("late")
	_, next := w.feed("")
	conn, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "UPDATE tenants SET feed_xid = pg_current_xact_id() WHERE id = $1", early.ID); err != nil {
		t.Fatal(err)
	}
	w.do("POST", "/v1/tenants/late/keys/rotate", w.root, "").ok(200)
	items, next := w.feed(next)
	if len(items) != 0 {
		t.Fatalf("told before an earlier change: %+v", items)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if items, _ = w.feed(next); len(items) != 2 || items[0].Tenant != "early" || items[1].Tenant != "late" {
		t.Errorf("%+v", items)
	}
}

func TestFleetFeedIsZipped(t *testing.T) {
	w := newWorld(t)
	a := w.do("GET", "/v1/jwks-feed", w.root, "", "Accept-Encoding", "identity")
	req, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/v1/jwks-feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.root)
	req.Header.Set("Accept-Encoding", "br, gzip")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	var x, y JWKSFeed
	if err != nil || json.Unmarshal(plain, &x) != nil || json.Unmarshal(a.body, &y) != nil || len(x.Items) != 1 || string(x.Items[0].JWKS) != string(y.Items[0].JWKS) {
		t.Errorf("%s, %v", plain, err)
	}
}
