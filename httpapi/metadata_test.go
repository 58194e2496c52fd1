package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const providerMetadata = `{"authorization_endpoint":"https://login.acme.example/authorize?a=1&b=2","response_types_supported":["code"],` +
	`"scopes_supported":["openid"],"token_endpoint":"https://login.acme.example/token"}`

// discoveries are the documents of acme: both forms, by path and by Host.
func (w *world) discoveries(host string) (docs [][]byte, etags []string) {
	w.t.Helper()
	for _, ask := range [][2]string{
		{"/t/acme/.well-known/openid-configuration", "x"},
		{"/.well-known/oauth-authorization-server/t/acme", "x"},
		{"/.well-known/openid-configuration", host},
		{"/.well-known/oauth-authorization-server", host},
	} {
		a := w.spoken("GET " + ask[0] + " HTTP/1.1\r\nHost: " + ask[1] + "\r\nConnection: close\r\n\r\n")
		if a.StatusCode != http.StatusOK || a.Header.Get("ETag") == "" || a.Header.Get("Content-Type") != "application/json" {
			w.t.Fatalf("%v: %d %v %s", ask, a.StatusCode, a.Header, a.body)
		}
		docs, etags = append(docs, a.body), append(etags, a.Header.Get("ETag"))
	}
	return docs, etags
}

// What a tenant says of its provider is in its documents, with what Keyward
// says and over the defaults, until it takes it back.
func TestProviderMetadata(t *testing.T) {
	w := newWorld(t)
	const host = "id.acme.example"
	var acme Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","custom_domain":"`+host+`","policies":[{"alg":"ES256","default":true},{"alg":"EdDSA"}],"metadata":`+providerMetadata+`}`).ok(201, &acme)
	if acme.Metadata == nil || string(*acme.Metadata) != providerMetadata {
		t.Errorf("%+v", acme)
	}
	issuer := testPublicURL + "/t/acme"
	document := func(members string) string {
		members = strings.Replace(members, `"subject_types_supported"`, `"signed_jwks_uri":"`+issuer+`/.well-known/jwks.jwt","subject_types_supported"`, 1)
		return `{` + strings.Replace(members, "#", `"id_token_signing_alg_values_supported":["ES256","EdDSA"],"issuer":"`+issuer+`","jwks_uri":"`+issuer+`/.well-known/jwks.json"`, 1) + `}`
	}
	expect := func(what, want string) (etag string) {
		t.Helper()
		docs, etags := w.discoveries(host)
		for i := range docs {
			if string(docs[i]) != want || etags[i] != etags[0] {
				t.Errorf("%s, %d: %s %s, want %s", what, i, etags[i], docs[i], want)
			}
		}
		return etags[0]
	}
	const path = "/t/acme/.well-known/openid-configuration"
	first := expect("created", document(`"authorization_endpoint":"https://login.acme.example/authorize?a=1&b=2",#,"response_types_supported":["code"],`+
		`"scopes_supported":["openid"],"subject_types_supported":["public"],"token_endpoint":"https://login.acme.example/token"`))
	w.do("GET", path, "", "", "If-None-Match", first).ok(304)

	// The same in another order, and another setting, change no document.
	reordered := `{"token_endpoint":"https://login.acme.example/token","scopes_supported":["openid"],"response_types_supported":["code"],"authorization_endpoint":"https://login.acme.example/authorize?a=1&b=2"}`
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"metadata":`+reordered+`}`).ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Acme"}`).ok(200, &acme)
	if string(*acme.Metadata) != providerMetadata {
		t.Errorf("%s", *acme.Metadata)
	}
	w.do("GET", path, "", "", "If-None-Match", first).ok(304)

	// What is given replaces all that there was.
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"metadata":{"userinfo_endpoint":"https://login.acme.example/me","subject_types_supported":["pairwise"]}}`).ok(200)
	second := expect("replaced", document(`#,"response_types_supported":["id_token"],"subject_types_supported":["pairwise"],"userinfo_endpoint":"https://login.acme.example/me"`))
	w.do("GET", path, "", "", "If-None-Match", first).ok(200)
	if a := w.do("HEAD", path, "", ""); a.StatusCode != 200 || a.Header.Get("ETag") != second || second == first {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}

	var events AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?action=tenant.updated&order=asc", w.root, "").ok(200, &events)
	if len(events.Items) != 2 || !strings.Contains(string(events.Items[1].Details), `"userinfo_endpoint"`) {
		t.Errorf("%+v", events.Items)
	}
	for i, nothing := range []string{"null", "{}"} {
		w.do("PATCH", "/v1/tenants/acme", w.root, fmt.Sprintf(`{"metadata":{"userinfo_endpoint":"https://login.acme.example/%d"}}`, i)).ok(200)
		acme = Tenant{}
		w.do("PATCH", "/v1/tenants/acme", w.root, `{"metadata":`+nothing+`}`).ok(200, &acme)
		if acme.Metadata != nil {
			t.Errorf("%s: %s", nothing, *acme.Metadata)
		}
		expect("cleared", document(`#,"response_types_supported":["id_token"],"subject_types_supported":["public"]`))
	}
	if body := w.do("GET", "/v1/tenants/acme", w.root, "").ok(200).body; strings.Contains(string(body), "metadata") {
		t.Errorf("%s", body)
	}
}

// Each fault is named, in a new tenant and in a change of one, which then has
// changed nothing. All are 400s: no state of anything makes them right.
func TestProviderMetadataIsRefused(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","metadata":`+providerMetadata+`}`).ok(201)
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf(`"m%d":1`, i)
	}
	w.inert(func() {
		for metadata, field := range map[string]string{
			`[]`: "metadata", `"x"`: "metadata", `1`: "metadata",
			"{" + strings.Join(many, ",") + "}":                   "metadata",
			`{"x":"` + strings.Repeat("x", 16<<10) + `"}`:         "metadata",
			`{"issuer":"https://a.example"}`:                      "metadata.issuer",
			`{"Issuer":"https://a.example"}`:                      "metadata.Issuer",
			`{"jwks_uri":"https://a.example"}`:                    "metadata.jwks_uri",
			`{"id_token_signing_alg_values_supported":["RS256"]}`: "metadata.id_token_signing_alg_values_supported",
			`{"jwks":{"keys":[]}}`:                                "metadata.jwks",
			`{"signed_jwks_uri":"https://a.example"}`:             "metadata.signed_jwks_uri",
			`{"signed_metadata":"a.b.c"}`:                         "metadata.signed_metadata",
			`{"token_endpoint":"/token"}`:                         "metadata.token_endpoint",
			`{"token_endpoint":"https://u@a.example/"}`:           "metadata.token_endpoint",
			`{"op_tos_uri":"https://a.example/#tos"}`:             "metadata.op_tos_uri",
			`{"scopes_supported":"openid profile"}`:               "metadata.scopes_supported",
			`{"grant_types_supported":[]}`:                        "metadata.grant_types_supported",
			`{"claims_parameter_supported":"yes"}`:                "metadata.claims_parameter_supported",
			`{"":1}`:                                              "metadata.",
			`{"a\n":1}`:                                           "metadata.a\n",
			`{"a":1,"a":2}`:                                       "metadata.a",
			`{"token_endpoint":"https://a.example","TOKEN_endpoint":"https://b.example"}`: "metadata.token_endpoint",
			`{"x":null}`:                   "metadata.x",
			`{"x":{"y":[{"z":"\u0000"}]}}`: "metadata.x.y[0].z",
			strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9): "metadata" + strings.Repeat(".a", 8),
		} {
			for _, r := range [][3]string{
				{"POST", "/v1/tenants", `{"slug":"other","metadata":` + metadata + `}`},
				{"PATCH", "/v1/tenants/acme", `{"metadata":` + metadata + `}`},
			} {
				p := w.do(r[0], r[1], w.root, r[2]).problem(ProblemCodeInvalidRequest)
				if len(p.Errors) != 1 || p.Errors[0].Field != field || p.Errors[0].Message == "" {
					t.Errorf("%s %.80s: %+v", r[0], metadata, p.Errors)
				}
			}
		}
		w.do("POST", "/v1/tenants", w.root, `{"slug":"other","metadata":null}`).problem(ProblemCodeInvalidRequest)
	})
	if w.do("GET", "/v1/tenants/other", w.root, "").StatusCode != 404 {
		t.Error("it was created")
	}
}

// A change is told to gateways and to other replicas, as one of any setting is;
// the JWK Set and its entity tag stay.
func TestProviderMetadataIsTold(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("other")
	other, told := w.replica(t)
	const path, set = "/t/acme/.well-known/openid-configuration", "/t/acme/.well-known/jwks.json"
	keys := w.do("GET", set, "", "").ok(200).Header.Get("ETag")
	before := other.do("GET", path, "", "").ok(200).Header.Get("ETag")
	_, next := w.feed("")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"metadata":`+providerMetadata+`}`).ok(200)
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Fatal("the replica hears nothing")
	}
	var d map[string]json.RawMessage
	a := other.do("GET", path, "", "", "If-None-Match", before).ok(200, &d)
	if string(d["token_endpoint"]) != `"https://login.acme.example/token"` || a.Header.Get("ETag") == before {
		t.Errorf("%s", a.body)
	}
	for _, each := range []*world{w, other} {
		each.do("GET", set, "", "", "If-None-Match", keys).ok(304)
	}
	items, _ := w.feed(next)
	if !slices.ContainsFunc(items, func(i FeedItem) bool { return i.Tenant == "acme" && i.Version > 1 }) || len(items) != 1 {
		t.Errorf("%+v", items)
	}
}
