package httpapi

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

const secret = "hunter2-hunter2"

// validated serves every route of the document behind the validator; a request
// that passes is answered with its own body.
func validated(t testing.TB) *echo.Echo {
	t.Helper()
	doc, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	v := newValidator(doc)
	e := echo.New()
	e.HTTPErrorHandler = ErrorHandler(slog.New(slog.DiscardHandler))
	e.Use(v.validateRequest)
	routes := echo.New()
	RegisterHandlers(routes, nil)
	for _, r := range routes.Routes() {
		e.Add(r.Method, r.Path, func(c echo.Context) error {
			_, err := io.Copy(c.Response(), c.Request().Body)
			return err
		})
	}
	return e
}

func send(e *echo.Echo, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, r)
	return rec
}

func TestValidRequestsPassUnchanged(t *testing.T) {
	e := validated(t)
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"ES256"},{"alg":"RS256","rsa_bits":3072,"default":true}]}`},
		{"PATCH", "/v1/tenants/acme", `{"custom_domain":null,"name":null,"not_before":"2026-11-21T09:30:00.5+01:00","status":"suspended"}`},
		{"GET", "/v1/tenants?q=a%20b&status=active&limit=500&cursor=abc_-9", ""},
		{"DELETE", "/v1/tenants/019ab4c2-7a10-7c3e-9d52-2f1f6f0f3a11", ""},
		{"PUT", "/v1/tenants/acme/policies/Ed25519", `{}`},
		{"PUT", "/v1/tenants/acme/policies/ES256", `{"rotation_interval_seconds":0,"publish_lead_seconds":1}`},
		{"GET", "/v1/tenants/acme/keys?state=active&alg=ES256&valid_at=2026-11-21T09:30:00Z", ""},
		{"GET", "/v1/tenants/acme/keys/..a~b", ""},
		{"POST", "/v1/tenants/acme/keys/rotate", ""},
		{"POST", "/v1/tenants/acme/keys/rotate", `{"dry_run":true}`},
		{"POST", "/v1/tenants/acme/keys/k1/revoke", `{"reason":"compromised","mode":"fresh"}`},
		{"POST", "/v1/tenants/acme/keys/purge", `{}`},
		{"GET", "/v1/audit?tenant=acme&action=key.revoked&order=asc", ""},
		{"POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer","name":"é"}`},
		{"POST", "/v1/tenants/acme/tokens", `{"anything":"is the handler's"}`},
	} {
		if rec := send(e, c.method, c.target, c.body); rec.Code != 200 || rec.Body.String() != c.body {
			t.Errorf("%s %s: %d %s", c.method, c.target, rec.Code, rec.Body)
		}
	}
}

func TestInvalidRequestsNameTheirFields(t *testing.T) {
	e := validated(t)
	algs := "must be one of: ES256, ES384, ES512, EdDSA, Ed25519, RS256, RS384, RS512, PS256, PS384, PS512, ML-DSA-44, ML-DSA-65, ML-DSA-87"
	for _, c := range []struct {
		method, target, body string
		want                 []FieldError
	}{
		{"POST", "/v1/tenants", `{}`, []FieldError{{"slug", "is required"}}},
		{"POST", "/v1/tenants", `{"slug":"A b"}`, []FieldError{{"slug", "must match ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ (Lower-case letters, digits and inner hyphens; not of the form of an id)"}}},
		{"POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"HS256"},{"alg":"none","rsa_bits":1024},{}]}`, []FieldError{
			{"policies[0].alg", algs},
			{"policies[1].alg", algs},
			{"policies[1].rsa_bits", "must be one of: 2048, 3072, 4096"},
			{"policies[2].alg", "is required"},
		}},
		{"POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"ES256","ttl":1}]}`, []FieldError{
			{"policies[0].ttl", "is not known; accepted: alg, default, default_token_ttl_seconds, grace_period_seconds, max_adoption_wait_seconds, max_published_keys, max_token_ttl_seconds, min_adoption, publish_lead_seconds, purge_after_seconds, rotation_interval_seconds, rsa_bits"},
		}},
		{"POST", "/v1/tenants", `{"slug":"acme","policies":[]}`, []FieldError{{"policies", "must have between 1 and 14 items"}}},
		{"POST", "/v1/tenants", `{"slug":"acme","name":null}`, []FieldError{{"name", "must not be null"}}},
		{"POST", "/v1/tenants", `{"slug":7}`, []FieldError{{"slug", "must be a string"}}},
		{"POST", "/v1/tenants", `[]`, []FieldError{{"", "must be an object"}}},
		{"POST", "/v1/tenants", `{"slug":"a","slug":"b"}`, []FieldError{{"slug", "must not be given twice"}}},
		{"PUT", "/v1/tenants/acme/policies/ES256", `{"grace_period_seconds":0,"purge_after_seconds":1.5,"max_published_keys":1e99}`, []FieldError{
			{"grace_period_seconds", "must be between 1 and 315360000"},
			{"max_published_keys", "must be between 3 and 64"},
			{"purge_after_seconds", "must be an integer"},
		}},
		{"PUT", "/v1/tenants/acme/policies/HS256", `{}`, []FieldError{{"alg", algs}}},
		{"PATCH", "/v1/tenants/acme", `{"status":"deleted","not_before":"tomorrow"}`, []FieldError{
			{"not_before", "must be an RFC 3339 time such as 2026-11-21T09:30:00Z"},
			{"status", "must be one of: active, suspended"},
		}},
		{"GET", "/v1/tenants?limit=501", "", []FieldError{{"limit", "must be between 1 and 500"}}},
		{"GET", "/v1/tenants?limit=many", "", []FieldError{{"limit", "must be an integer"}}},
		{"GET", "/v1/tenants?limit=", "", []FieldError{{"limit", "must not be empty"}}},
		{"GET", "/v1/tenants?limit=1&limit=2", "", []FieldError{{"limit", "must not be given twice"}}},
		{"GET", "/v1/tenants?state=active", "", []FieldError{{"state", "is not known; accepted: q, status, alg, problem, limit, cursor"}}},
		{"GET", "/v1/tenants/acme?x=1", "", []FieldError{{"x", "is not known; nothing is accepted here"}}},
		{"GET", "/v1/tenants/acme/keys?valid_at=2026-13-01T00:00:00Z", "", []FieldError{{"valid_at", "must be an RFC 3339 time such as 2026-11-21T09:30:00Z"}}},
		{"POST", "/v1/tenants/acme/keys/k1/revoke", `{"reason":"because","mode":"both"}`, []FieldError{
			{"mode", "must be one of: standby, fresh"},
			{"reason", "must be one of: unspecified, compromised, superseded"},
		}},
		{"POST", "/v1/api-keys", `{"role":"tenant_admin"}`, []FieldError{{"role", "must be one of: platform_admin, platform_auditor"}}},
	} {
		rec := send(e, c.method, c.target, c.body)
		var p Problem
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != 400 || p.Code != ProblemCodeInvalidRequest {
			t.Errorf("%s %s %s: %d %s", c.method, c.target, c.body, rec.Code, rec.Body)
		}
		if !reflect.DeepEqual(p.Errors, c.want) {
			t.Errorf("%s %s %s:\n got %q\nwant %q", c.method, c.target, c.body, p.Errors, c.want)
		}
	}
}

func TestOtherRefusals(t *testing.T) {
	e := validated(t)
	for _, c := range []struct {
		method, target, body string
		header               []string
		status               int
		code                 ProblemCode
	}{
		{"GET", "/v1/tenants/a_b", "", nil, 404, ProblemCodeTenantNotFound},
		{"GET", "/v1/tenants/" + strings.Repeat("a", 64), "", nil, 404, ProblemCodeTenantNotFound},
		{"GET", "/v1/tenants/%00", "", nil, 404, ProblemCodeTenantNotFound},
		{"GET", "/v1/tenants/acme/keys/" + strings.Repeat("a", 257), "", nil, 404, ProblemCodeKeyNotFound},
		{"DELETE", "/v1/api-keys/7", "", nil, 404, ProblemCodeNotFound},
		{"POST", "/v1/tenants", "", nil, 400, ProblemCodeInvalidRequest},
		{"POST", "/v1/tenants", "{", nil, 400, ProblemCodeInvalidRequest},
		{"POST", "/v1/tenants", `{"slug":"a"}`, []string{"Content-Type", "text/plain"}, 415, ProblemCodeUnsupportedMediaType},
		{"POST", "/v1/tenants", `{"slug":"a"}`, []string{"Idempotency-Key", "a b"}, 400, ProblemCodeInvalidRequest},
		{"GET", "/v1/tenants/acme?%zz", "", nil, 400, ProblemCodeInvalidRequest},
		{"DELETE", "/v1/tenants/acme", "{}", nil, 400, ProblemCodeInvalidRequest},
	} {
		rec := send(e, c.method, c.target, c.body, c.header...)
		var p Problem
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != c.status || p.Code != c.code {
			t.Errorf("%s %s %s: %d %s", c.method, c.target, c.body, rec.Code, rec.Body)
		}
	}
}

// No fault of a value repeats the value.
func TestFaultsDoNotRepeatValues(t *testing.T) {
	e := validated(t)
	for target, bodies := range map[string][]string{
		"/v1/tenants": {
			`{"slug":"` + secret + `!"}`, `{"slug":["` + secret + `"]}`, `{"slug":"a","issuer":"` + secret + `"}`,
			`{"slug":"a","policies":[{"alg":"` + secret + `"}]}`, `{"slug":"a","policies":"` + secret + `"}`,
			`{"slug":"a","unknown":"` + secret + `"}`, `"` + secret + `"`, `{"slug":"` + secret,
		},
		"/v1/api-keys":                             {`{"role":"platform_admin","expires_at":"` + secret + `"}`},
		"/v1/audit?since=" + secret:                {""},
		"/v1/tenants?limit=" + secret:              {""},
		"/v1/tenants?cursor=%21" + secret:          {""},
		"/v1/tenants/acme/keys?valid_at=" + secret: {""},
	} {
		for _, body := range bodies {
			method := http.MethodPost
			if body == "" {
				method = http.MethodGet
			}
			rec := send(e, method, target, body)
			if rec.Code != 400 || strings.Contains(rec.Body.String(), secret) {
				t.Errorf("%s %s: %d %s", target, body, rec.Code, rec.Body)
			}
		}
	}
}

func TestFaultsAreBounded(t *testing.T) {
	body := `{"slug":"a"`
	for i := range 1000 {
		body += `,"x` + strings.Repeat("y", i) + `":1`
	}
	rec := send(validated(t), http.MethodPost, "/v1/tenants", body+"}")
	var p Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || len(p.Errors) != maxFaults || rec.Body.Len() > 50_000 {
		t.Errorf("%d faults, %d bytes, %v", len(p.Errors), rec.Body.Len(), err)
	}
}

// Every example of a request in the document passes its own validation.
func TestExamplesPass(t *testing.T) {
	e := validated(t)
	for path, item := range document(t).Paths.Map() {
		target := strings.NewReplacer("{tenant}", "acme", "{alg}", "ES256", "{kid}", "k1", "{id}", "0198c2f4-7d1e-7c7a-9d0b-3f6d2f6f2a11").Replace(path)
		for method, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			media := op.RequestBody.Value.Content.Get(echo.MIMEApplicationJSON)
			examples := []any{media.Example}
			for _, ex := range media.Examples {
				examples = append(examples, ex.Value.Value)
			}
			for _, example := range examples {
				if example == nil {
					continue
				}
				body, err := json.Marshal(example)
				if err != nil {
					t.Fatal(err)
				}
				if rec := send(e, method, target, string(body)); rec.Code != 200 {
					t.Errorf("%s %s: %d %s", method, body, rec.Code, rec.Body)
				}
			}
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	e := validated(b)
	for b.Loop() {
		send(e, http.MethodPost, "/v1/tenants", `{"slug":"acme","policies":[{"alg":"ES256"}]}`)
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"claims":{"sub":"alice","aud":"api","scope":"read write","n":[1,2,3]},"typ":"at+jwt","ttl_seconds":300}`)
	for b.Loop() {
		var v SignTokenRequest
		if err := decodeStrict(body, &v); err != nil {
			b.Fatal(err)
		}
	}
}
