package jwks_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

type inner struct {
	Level int `json:"level"`
}

type base struct {
	Tenant string `json:"tenant"`
}

type claimsOf struct {
	base
	Subject string           `json:"sub"`
	Roles   []inner          `json:"roles"`
	ByName  map[string]inner `json:"by_name"`
	More    *inner           `json:"more"`
	Raw     json.RawMessage  `json:"raw"`
	Time    time.Time        `json:"time"`
	Plain   string
	Any     any    `json:"any"`
	Hidden  string `json:"-"`
}

// Claims are taken by their exact names, at any depth of the caller's type.
func TestClaimsAreTakenByTheirExactNames(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{NoExpiry: true})
	payload := `{"iss":"` + issuerURL + `","aud":"orders",
		"sub":"alice","SUB":"admin","Sub":"admin","\u017fub":"admin",
		"Tenant":"other","tenant":"acme",
		"roles":[{"level":1,"LEVEL":9},{"Level":9}],
		"by_name":{"A":{"level":2,"Level":9},"a":{"LEVEL":9}},
		"more":{"level":3,"levEL":9},
		"raw":{"A":1,"a":2},"RAW":7,"time":"2026-05-01T00:00:00Z","TIME":7,"Plain":"x","plain":"y",
		"any":{"A":1,"a":2},"Hidden":"z","unknown":[1]}`
	got, _, err := jwks.VerifyAs[claimsOf](t.Context(), verifier, issuer.Sign("1", nil, []byte(payload)))
	if err != nil {
		t.Fatal(err)
	}
	want := claimsOf{
		base: base{"acme"}, Subject: "alice", Roles: []inner{{1}, {}}, ByName: map[string]inner{"A": {2}, "a": {}}, More: &inner{3},
		Raw: json.RawMessage(`{"A":1,"a":2}`), Time: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Plain: "x", Any: map[string]any{"A": 1.0, "a": 2.0},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	all, token, err := jwks.VerifyAs[map[string]any](t.Context(), verifier, issuer.Sign("1", nil, []byte(payload)))
	if err != nil || all["SUB"] != "admin" || all["sub"] != "alice" || token.Subject != "alice" {
		t.Errorf("%v, %v", all, err)
	}
	if err := token.Decode(nil); err == nil {
		t.Error("decoded into nothing")
	}
	var wrong struct {
		Sub int `json:"sub"`
	}
	if err := token.Decode(&wrong); err == nil {
		t.Error("a string became a number")
	}
}
