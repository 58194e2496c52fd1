package httpapi

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestFormsOfAKey(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	k := w.keys("acme", KeyStateActive)[0]
	path := "/v1/tenants/acme/keys/" + k.KID
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json", "application/*": "application/json",
		mimeJWK: mimeJWK, mimePEM: mimePEM, mimeDER: mimeDER, "application/x-pem-file, application/json;q=0.5": mimePEM, "application/jwk+json;q=0.1, text/html": mimeJWK,
	} {
		a := w.do("GET", path, w.root, "", "Accept", accept).ok(200)
		if got := a.Header.Get("Content-Type"); got != want || a.Header.Get("Vary") != "Accept" {
			t.Errorf("%q: %s", accept, got)
		}
	}
	w.do("GET", path, w.root, "", "Accept", "text/html;q=1, application/json;q=0").problem(ProblemCodeNotAcceptable)
	block, _ := pem.Decode(w.do("GET", path, w.root, "", "Accept", mimePEM).body)
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil || block.Type != "PUBLIC KEY" {
		t.Fatal(err)
	}
	der := w.do("GET", path, w.root, "", "Accept", mimeDER)
	if name := der.Header.Get("Content-Disposition"); !bytes.Equal(der.body, block.Bytes) || name != `attachment; filename="`+k.KID+`.der"` {
		t.Errorf("DER and PEM differ, %s", name)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(w.do("GET", path, w.root, "", "Accept", mimeJWK).body); err != nil || jwk.KeyID != k.KID {
		t.Fatal(err)
	}
	if !jwk.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
		t.Error("PEM and JWK are different keys")
	}

	w.do("POST", path+"/revoke", w.root, `{"reason":"superseded"}`).ok(200)
	w.do("POST", "/v1/tenants/acme/keys/purge", w.root, "").ok(200)
	var purged Key
	if w.do("GET", path, w.root, "").ok(200, &purged); purged.State != KeyStatePurged || purged.PublicJWK != nil || purged.RevocationReason == nil {
		t.Errorf("%+v", purged)
	}
	for _, form := range []string{mimePEM, mimeJWK, mimeDER} {
		w.do("GET", path, w.root, "", "Accept", form).problem(ProblemCodeKeyNotFound)
	}
}

func TestKeysByTime(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	before := time.Now().UTC()
	w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"compromised"}`).ok(200)
	var then, now KeyList
	at := func(t time.Time) string { return "?valid_at=" + url.QueryEscape(t.Format(time.RFC3339Nano)) }
	w.do("GET", "/v1/tenants/acme/keys"+at(before), w.root, "").ok(200, &then)
	w.do("GET", "/v1/tenants/acme/keys"+at(time.Now()), w.root, "").ok(200, &now)
	if len(then.Items) != 2 || len(now.Items) != 2 || then.Items[0].KID == now.Items[0].KID {
		t.Errorf("%+v\n%+v", then, now)
	}
	for _, filter := range []string{"?state=revoked&alg=ES256", "?state=revoked"} {
		var list KeyList
		if w.do("GET", "/v1/tenants/acme/keys"+filter, w.root, "").ok(200, &list); len(list.Items) != 2 {
			t.Errorf("%s: %d", filter, len(list.Items))
		}
	}
}
