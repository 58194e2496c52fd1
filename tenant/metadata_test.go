package tenant_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// objectOf has so many members.
func objectOf(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"m%d":1`, i)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestMetadataThatIsAccepted(t *testing.T) {
	deepest := strings.Repeat(`{"a":`, 8) + "1" + strings.Repeat("}", 8)
	for given, want := range map[string]string{
		"":     "",
		"null": "",
		"{ }":  "",
		` {"token_endpoint" : "https://a.example/token?a=1&b=<2>", "authorization_endpoint":"http://127.0.0.1:8080/authorize"} `: `{"authorization_endpoint":"http://127.0.0.1:8080/authorize","token_endpoint":"https://a.example/token?a=1&b=<2>"}`,
		`{"x":{"b":1.10,"a":[{"d":"\u00e4","c":null}]}}`: `{"x":{"a":[{"c":null,"d":"ä"}],"b":1.10}}`,
		`{"big":12345678901234567890,"small":1e-300}`:    `{"big":12345678901234567890,"small":1e-300}`,
		`{"claims_parameter_supported":false,"backchannel_logout_session_supported":true,"response_types_supported":["code"]}`:          `{"backchannel_logout_session_supported":true,"claims_parameter_supported":false,"response_types_supported":["code"]}`,
		`{"verified_claims_supported":true,"documents_supported":["idcard"]}`:                                                           `{"documents_supported":["idcard"],"verified_claims_supported":true}`,
		`{"mtls_endpoint_aliases":{"token_endpoint":"https://mtls.a.example/token"},"tls_client_certificate_bound_access_tokens":true}`: `{"mtls_endpoint_aliases":{"token_endpoint":"https://mtls.a.example/token"},"tls_client_certificate_bound_access_tokens":true}`,
		`{"https://a.example/x":"","op_name#ja-Hani-JP":"y"}`:                                                                           `{"https://a.example/x":"","op_name#ja-Hani-JP":"y"}`,
		deepest: deepest,
	} {
		s := tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching, Metadata: json.RawMessage(given)}
		if err := s.Validate(); err != nil || string(s.Metadata) != want {
			t.Errorf("%s became %s, %v", given, s.Metadata, err)
		}
	}
	for _, given := range []string{objectOf(100), `{"` + strings.Repeat("n", 128) + `":1}`, `{"a":"` + strings.Repeat("x", 16<<10-8) + `"}`} {
		s := tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching, Metadata: json.RawMessage(given)}
		if err := s.Validate(); err != nil || len(s.Metadata) != len(given) {
			t.Errorf("%.40s: %d of %d bytes, %v", given, len(s.Metadata), len(given), err)
		}
	}
}

func TestMetadataThatIsRefused(t *testing.T) {
	for given, field := range map[string]string{
		"[]": "metadata", "1": "metadata", `"x"`: "metadata", "{": "metadata", `{"a":1}{"b":2}`: "metadata", `{"a":1}}`: "metadata",
		objectOf(101): "metadata",
		`{"a":"` + strings.Repeat("x", 16<<10-7) + `"}`:              "metadata",
		`{"issuer":"https://a.example"}`:                             "metadata.issuer",
		`{"jwks_uri":"https://a.example"}`:                           "metadata.jwks_uri",
		`{"mtls_endpoint_aliases":{"jwks_uri":"https://a.example"}}`: "metadata.mtls_endpoint_aliases.jwks_uri",
		`{"MTLS_endpoint_aliases":{"JWKS_URI":"https://a.example"}}`: "metadata.MTLS_endpoint_aliases.JWKS_URI",
		`{"JWKS_uri":"https://a.example"}`:                           "metadata.JWKS_uri",
		`{"id_token_signing_alg_values_supported":["none"]}`:         "metadata.id_token_signing_alg_values_supported",
		`{"jwks":{"keys":[]}}`:                                       "metadata.jwks",
		`{"signed_jwks_uri":"https://a.example"}`:                    "metadata.signed_jwks_uri",
		`{"signed_metadata":"a.b.c"}`:                                "metadata.signed_metadata",
		`{"":1}`:                                                     "metadata.",
		`{"a b":1}`:                                                  "metadata.a b",
		`{"a\u0000":1}`:                                              "metadata.a\x00",
		`{"i\u017f\u017fuer":"x"}`:                                   "metadata.i\u017f\u017fuer", // Go reads this for issuer
		`{"` + strings.Repeat("n", 129) + `":1}`:                     "metadata." + strings.Repeat("n", 128) + "…",
		`{"token_endpoint":"https://a.example","Token_endpoint":"https://b.example"}`: "metadata.token_endpoint",
		`{"token_endpoint":""}`:                                         "metadata.token_endpoint",
		`{"token_endpoint":null}`:                                       "metadata.token_endpoint",
		`{"token_endpoint":1}`:                                          "metadata.token_endpoint",
		`{"token_endpoint":"/token"}`:                                   "metadata.token_endpoint",
		`{"token_endpoint":"//a.example/token"}`:                        "metadata.token_endpoint",
		`{"token_endpoint":"https://a.example/#x"}`:                     "metadata.token_endpoint",
		`{"token_endpoint":"https://a.example/#"}`:                      "metadata.token_endpoint",
		`{"token_endpoint":"https://u:p@a.example/"}`:                   "metadata.token_endpoint",
		`{"token_endpoint":"https:///token"}`:                           "metadata.token_endpoint",
		`{"token_endpoint":"javascript:alert(1)"}`:                      "metadata.token_endpoint",
		`{"token_endpoint":"https://a.example/ä"}`:                      "metadata.token_endpoint",
		`{"Userinfo_Endpoint":"ftp://a.example/"}`:                      "metadata.Userinfo_Endpoint",
		`{"op_policy_uri":"urn:x"}`:                                     "metadata.op_policy_uri",
		`{"service_documentation":"see there"}`:                         "metadata.service_documentation",
		`{"check_session_iframe":"x"}`:                                  "metadata.check_session_iframe",
		`{"mtls_endpoint_aliases":"x"}`:                                 "metadata.mtls_endpoint_aliases",
		`{"mtls_endpoint_aliases":{"token_endpoint":"x"}}`:              "metadata.mtls_endpoint_aliases.token_endpoint",
		`{"mtls_endpoint_aliases":{"token endpoint":"x"}}`:              "metadata.mtls_endpoint_aliases.token endpoint",
		`{"scopes_supported":"openid"}`:                                 "metadata.scopes_supported",
		`{"scopes_supported":[]}`:                                       "metadata.scopes_supported",
		`{"scopes_supported":["a",1]}`:                                  "metadata.scopes_supported",
		`{"scopes_supported":[""]}`:                                     "metadata.scopes_supported",
		`{"scopes_supported":true}`:                                     "metadata.scopes_supported",
		`{"response_types_supported":false}`:                            "metadata.response_types_supported",
		`{"other_supported":"x"}`:                                       "metadata.other_supported",
		`{"request_parameter_supported":["x"]}`:                         "metadata.request_parameter_supported",
		`{"x":null}`:                                                    "metadata.x",
		`{"x":"a\u0000"}`:                                               "metadata.x",
		`{"x":{"y":["a",{"z":"\u0000"}]}}`:                              "metadata.x.y[1].z",
		`{"x":{"y z":1}}`:                                               "metadata.x.y z",
		`{"x":1e400}`:                                                   "metadata.x",
		`{"x":0.` + strings.Repeat("1", 31) + `}`:                       "metadata.x",
		strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9):       "metadata" + strings.Repeat(".a", 8),
		`{"a":` + strings.Repeat(`[`, 8) + strings.Repeat("]", 8) + "}": "metadata.a" + strings.Repeat("[0]", 7),
	} {
		s := tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching, Metadata: json.RawMessage(given)}
		var broken *tenant.FieldErrors
		if err := s.Validate(); !errors.As(err, &broken) || len(broken.Fields) != 1 || broken.Fields[0].Field != field {
			t.Errorf("%.80s: %v, want %q", given, err, field)
		}
	}
	many := tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching, Metadata: json.RawMessage(`{"x":[1e999` + strings.Repeat(",1e999", 2000) + `]}`)}
	var broken *tenant.FieldErrors
	if err := many.Validate(); !errors.As(err, &broken) || len(broken.Fields) != 50 {
		t.Errorf("%d faults", len(broken.Fields))
	}
}

// What is given replaces what was there; the same members in another order are
// no change.
func TestMetadataChanges(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	set := func(text string) tenant.Change { return tenant.Change{Metadata: tenant.Some(json.RawMessage(text))} }
	if got := w.update(t, id, set(`{"b":1,"a":[1]}`)); string(got.Metadata) != `{"a":[1],"b":1}` || got.Version != 2 {
		t.Errorf("%s, %+v", got.Metadata, got)
	}
	if got := w.update(t, id, set(`{"a":[1], "b":1}`)); got.Version != 2 {
		t.Errorf("the same is a change: %+v", got)
	}
	if got := w.update(t, id, tenant.Change{Name: tenant.Some("Acme")}); string(got.Metadata) != `{"a":[1],"b":1}` {
		t.Errorf("another change lost it: %+v", got)
	}
	if got := w.update(t, id, set(`{"token_endpoint":"https://a.example/?x&y"}`)); string(got.Metadata) != `{"token_endpoint":"https://a.example/?x&y"}` {
		t.Errorf("%s", got.Metadata)
	}
	for _, nothing := range []string{"", "null", "{}"} {
		w.update(t, id, set(`{"b":1}`))
		if got := w.update(t, id, set(nothing)); got.Metadata != nil {
			t.Errorf("cleared by %q: %+v", nothing, got)
		}
	}
	events := w.events(t, id)
	for i, want := range map[int]string{
		1: `{"metadata":{"after":{"a":[1],"b":1},"before":null}}`,
		3: `{"metadata":{"after":{"token_endpoint":"https://a.example/?x\u0026y"},"before":{"a":[1],"b":1}}}`,
		5: `{"metadata":{"after":null,"before":{"b":1}}}`,
	} {
		if string(events[i].Details) != want {
			t.Errorf("%d: %s, want %s", i, events[i].Details, want)
		}
	}
	var broken *tenant.FieldErrors
	if _, err := w.Update(t.Context(), somebody, id, set(`{"issuer":"x"}`)); !errors.As(err, &broken) || broken.Fields[0].Field != "metadata.issuer" {
		t.Errorf("%v", err)
	}
}
