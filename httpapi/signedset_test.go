package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/keys/tokens"
)

// openSet verifies a signed set with the keys of a JSON set, as a client with pinned
// keys does, and returns its payload.
func openSet(t *testing.T, pinned, signed []byte) (out struct {
	Iss, Sub string
	Iat, Exp int64
	Epoch    int64
	Version  int64
	Earliest int64 `json:"not_before"`
	Keys     json.RawMessage
},
) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(pinned, &set); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(string(signed), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	found := set.Key(jws.Signatures[0].Header.KeyID)
	if len(found) != 1 || jws.Signatures[0].Header.ExtraHeaders["typ"] != tokens.HistoryType {
		t.Fatalf("%+v", jws.Signatures[0].Header)
	}
	payload, err := jws.Verify(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The signed set says what the JSON set says, at each version, by path and by domain, and
// discovery names it.
func TestTheSignedSetIsTheSet(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const path, signed = "/v1/tenants/acme", "/t/acme/.well-known/jwks.jwt"
	var doc struct {
		Issuer string `json:"issuer"`
		Signed string `json:"signed_jwks_uri"`
	}
	w.do("GET", "/t/acme/.well-known/openid-configuration", "", "").ok(200, &doc)
	if doc.Signed != testPublicURL+signed {
		t.Errorf("signed_jwks_uri is %q", doc.Signed)
	}
	for _, change := range []func(){
		func() {},
		func() { w.do("POST", path+"/keys/rotate", w.root, "").ok(200) },
		func() {
			w.do("POST", path+"/keys/"+w.keys("acme", KeyStateDeprecated)[0].KID+"/revoke", w.root, `{"reason":"compromised"}`).ok(200)
		},
		func() { w.do("PATCH", path, w.root, `{"status":"suspended"}`).ok(200) }, // its tokens keep verifying
	} {
		change()
		plain := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
		a := w.do("GET", signed, "", "").ok(200)
		if a.Header.Get("Content-Type") != mimeKeyHistory || a.Header.Get("Cache-Control") != plain.Header.Get("Cache-Control") {
			t.Errorf("%v", a.Header)
		}
		last := a.Header.Get("Etag")
		set := openSet(t, plain.body, a.body)
		if `{"keys":`+string(set.Keys)+`}` != string(plain.body) || set.Iss != doc.Issuer || set.Sub != doc.Issuer {
			t.Errorf("%s is not %s", set.Keys, plain.body)
		}
		now := w.clock.now()
		if left := time.Unix(set.Exp, 0).Sub(now); left < 24*time.Hour || left > 25*time.Hour || now.Sub(time.Unix(set.Iat, 0)) > time.Minute {
			t.Errorf("valid from %d to %d, now is %d", set.Iat, set.Exp, now.Unix())
		}
		again := w.do("GET", signed, "", "")
		if string(again.body) != string(a.body) {
			t.Error("signed again without a change")
		}
		if a := w.do("GET", signed, "", "", "If-None-Match", last); a.StatusCode != 304 {
			t.Errorf("%d", a.StatusCode)
		}
	}
	w.do("PATCH", path, w.root, `{"custom_domain":"id.acme.example"}`).ok(200)
	a := w.spoken("GET /.well-known/jwks.jwt HTTP/1.1\r\nHost: id.acme.example\r\nConnection: close\r\n\r\n").ok(200)
	if set := openSet(t, w.do("GET", "/t/acme/.well-known/jwks.json", "", "").body, a.body); set.Iss != doc.Issuer {
		t.Errorf("on the domain: %+v", set)
	}
	openSet(t, w.do("GET", "/.well-known/jwks.json", "", "").body, w.do("GET", "/.well-known/jwks.jwt", "", "").ok(200).body)
	w.do("GET", "/.well-known/jwks.jwt", "", "", "If-None-Match", w.do("GET", "/.well-known/jwks.jwt", "", "").Header.Get("Etag"))
	w.do("GET", "/t/nobody/.well-known/jwks.jwt", "", "").problem(ProblemCodeTenantNotFound)
	w.do("DELETE", path, w.root, "").ok(204)
	w.do("GET", signed, "", "").problem(ProblemCodeTenantNotFound)
}

// A verifier that pinned the first key by its thumbprint follows the set through
// rotations, revocations in favor of the standby key and a new not_before, and refuses
// an older copy of it. A fresh key, which no set endorsed, ends the chain.
func TestAPinnedVerifierFollowsTheSignedSet(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const path, signed = "/v1/tenants/acme", "/t/acme/.well-known/jwks.jwt"
	var served []byte
	verifier, err := jwks.New(jwks.Config{
		URL: testPublicURL + signed, Now: w.clock.now,
		Pin: &jwks.Pin{Thumbprints: []string{w.keys("acme", KeyStateActive)[0].KID}, Issuer: testPublicURL + "/t/acme"},
		Fetch: func(context.Context, string) ([]byte, error) {
			if served != nil {
				return served, nil
			}
			return w.do("GET", signed, "", "").ok(200).body, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	follow := func() (version int64) {
		t.Helper()
		if err := verifier.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, k := range w.keys("acme", KeyStateActive) {
			if _, err := verifier.Key(t.Context(), k.KID); err != nil {
				t.Error(err)
			}
		}
		return openSet(t, w.do("GET", "/t/acme/.well-known/jwks.json", "", "").body, w.do("GET", signed, "", "").body).Version
	}
	last := follow()
	first := w.do("GET", signed, "", "").body
	for _, change := range []func(){
		func() { w.do("POST", path+"/keys/rotate", w.root, "").ok(200) },
		func() { w.do("POST", path+"/keys/revoke", w.root, `{"reason":"compromised","mode":"standby"}`).ok(200) },
		func() {
			w.do("PATCH", path, w.root, `{"not_before":"`+w.clock.now().UTC().Format(time.RFC3339)+`"}`).ok(200)
		},
		func() { w.do("POST", path+"/keys/rotate", w.root, "").ok(200) },
	} {
		change()
		version := follow()
		if version <= last {
			t.Errorf("version %d follows %d", version, last)
		}
		last = version
	}
	if verifier.NotBefore().IsZero() {
		t.Error("not_before is not in the signed set")
	}
	served = first
	if err := verifier.Refresh(t.Context()); !errors.Is(err, jwks.ErrNotSigned) && !errors.Is(err, jwks.ErrRollback) {
		t.Errorf("an older set: %v", err)
	}
	served = nil
	w.do("POST", path+"/keys/revoke", w.root, `{"reason":"compromised","mode":"fresh"}`).ok(200)
	if err := verifier.Refresh(t.Context()); !errors.Is(err, jwks.ErrNotSigned) {
		t.Errorf("a set signed by a fresh key: %v", err)
	}
}

// A row in recoveries begins no epoch because it is there: signed sets, which a verifier
// with a pinned key refuses ever after if their epoch falls, and cursors go on as before.
// A recovery takes the next number that is free, even if the row has the highest.
func TestForgedRecoveryIsRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const path, signed = "/v1/tenants/acme", "/t/acme/.well-known/jwks.jwt"
	var feed JWKSFeed
	w.do("GET", "/v1/jwks-feed", w.root, "").ok(200, &feed)
	epoch := func() int64 {
		t.Helper()
		w.do("POST", path+"/keys/rotate", w.root, "").ok(200) // so that a set is signed
		return openSet(t, w.do("GET", "/t/acme/.well-known/jwks.json", "", "").body, w.do("GET", signed, "", "").ok(200).body).Epoch
	}
	dbtest.Exec(t, w.dsn, "INSERT INTO recoveries (epoch, at, operator, mac) VALUES (1, now(), 'mallory', NULL), (9223372036854775807, now(), 'mallory', sha256('mallory'))")
	if e := epoch(); e != 0 {
		t.Errorf("forged rows began epoch %d", e)
	}
	w.do("GET", "/v1/jwks-feed?since="+feed.NextCursor, w.root, "").ok(200)
	if n := strings.Count(w.log.String(), `"table":"recoveries"`); n != 2 {
		t.Errorf("%d log lines for two forged rows", n)
	}
	if err := w.tenants.BeginEpoch(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
	if e := epoch(); e != 2 {
		t.Errorf("the recovery began epoch %d, not the first that is free", e)
	}
	w.do("GET", "/v1/jwks-feed?since="+feed.NextCursor, w.root, "").problem(ProblemCodeInvalidRequest)
	dbtest.Exec(t, w.dsn, "UPDATE recoveries SET epoch = 7 WHERE epoch = 2")
	if e := epoch(); e != 0 {
		t.Errorf("the code of one epoch made epoch %d", e)
	}
}
