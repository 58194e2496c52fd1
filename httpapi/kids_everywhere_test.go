package httpapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
)

// The streams, the feed, the console and the verifiers carry any kid as it is.
func TestForeignKIDsElsewhere(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	acme := w.tenant("acme")
	w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"`+r.url+`","actions":["key.imported"]}`)
	stream := w.listenTo(w.tenantEvents("acme"), w.root, "")
	old := map[string]ed25519.PrivateKey{}
	for _, kid := range foreignKIDs {
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		old[kid] = key
		jwk := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public), "kid": kid, "alg": "EdDSA"}
		w.do("POST", importPath, w.root, string(marshal(t, map[string]any{"public_key": jwk, "expires_at": in(time.Hour)}))).ok(201)
		for e := stream.next(); e.Action != "key.imported" || *e.KID != kid; e = stream.next() {
			if e.Action == "key.imported" {
				t.Errorf("the stream tells of %q, want %q", *e.KID, kid)
			}
		}
	}

	var told []string
	for len(told) < len(foreignKIDs) {
		w.deliver()
		batch := r.take()
		for _, p := range batch {
			told = append(told, *p.Event.KID)
			if err := w.authentic(p); err != nil {
				t.Errorf("%q: %v", *p.Event.KID, err)
			}
		}
		if len(batch) == 0 {
			t.Fatalf("webhooks told of %d keys", len(told))
		}
	}
	if slices.Sort(told); !slices.Equal(told, sorted(foreignKIDs)) {
		t.Errorf("webhooks told of %q", told)
	}

	var feed JWKSFeed
	w.do("GET", "/v1/jwks-feed", w.root, "").ok(200, &feed)
	at := slices.IndexFunc(feed.Items, func(i FeedItem) bool { return i.Tenant == "acme" })
	var set struct{ Keys []struct{ KID string } }
	if err := json.Unmarshal(feed.Items[at].JWKS, &set); err != nil {
		t.Fatal(err)
	}
	var fed []string
	for _, k := range set.Keys {
		fed = append(fed, k.KID)
	}
	if got := w.published("acme"); !slices.Equal(fed, got) {
		t.Errorf("the feed has %q, the JWKS %q", fed, got)
	}

	verifier, err := jwks.New(jwks.Config{URL: w.url + "/t/acme/.well-known/jwks.json", AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	surfer := w.signedIn(w.root)
	for _, kid := range foreignKIDs {
		k, err := verifier.Key(t.Context(), kid)
		if err != nil || k.ID() != kid || !old[kid].Public().(ed25519.PublicKey).Equal(k.Public()) {
			t.Errorf("package jwks: %q: %+v, %v", kid, k, err)
		}
		if _, err := verifier.VerifySignature(t.Context(), oldToken(old[kid], kid, acme.Issuer)); err != nil {
			t.Errorf("package jwks verifies no token of %q: %v", kid, err)
		}
		page := surfer.get("/console/tenants/acme/key?kid=" + url.QueryEscape(kid))
		shown := "<code>" + html.EscapeString(kid) + "</code>"
		if page.Status != 200 || !strings.Contains(html.UnescapeString(page.Body), html.UnescapeString(shown)) {
			t.Errorf("console: %q is shown as %d", kid, page.Status)
		}
	}
	list := surfer.get("/console/tenants/acme/keys")
	for _, kid := range foreignKIDs {
		if !strings.Contains(html.UnescapeString(list.Body), "/key?kid="+url.QueryEscape(kid)+`"`) {
			t.Errorf("the console's list has no link to %q", kid)
		}
	}
}

func sorted(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return all
}
