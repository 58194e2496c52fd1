package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentIsValidWithItsExamples(t *testing.T) {
	if err := document(t).Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// Every operation has a route of the generated interface and the reverse, so
// that the validator, which goes by echo's path, misses none.
func TestDocumentAndRoutesAgree(t *testing.T) {
	e := echo.New()
	RegisterHandlers(e, nil)
	routes := map[string]bool{}
	for _, r := range e.Routes() {
		routes[r.Method+" "+r.Path] = true
	}
	braces := strings.NewReplacer("{", ":", "}", "")
	count := 0
	for path, item := range document(t).Paths.Map() {
		for method, op := range item.Operations() {
			count++
			if !routes[method+" "+braces.Replace(path)] {
				t.Errorf("%s has no route", op.OperationID)
			}
		}
	}
	if count != len(routes) {
		t.Errorf("%d operations, %d routes", count, len(routes))
	}
}

// Request bodies refuse what they do not name; the caller's own objects don't.
func TestRequestBodiesAreClosed(t *testing.T) {
	for path, item := range document(t).Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			s := op.RequestBody.Value.Content.Get(echo.MIMEApplicationJSON).Schema.Value
			if s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has {
				t.Errorf("%s %s accepts unknown members", method, path)
			}
		}
	}
}

// What an operation under /v1 can always answer is documented there.
func TestEveryAdminOperationDocumentsItsFailures(t *testing.T) {
	for path, item := range document(t).Paths.Map() {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for method, op := range item.Operations() {
			want := []string{"400", "401", "429", "500", "503"}
			if op.RequestBody != nil {
				want = append(want, "413", "415")
			}
			if strings.Contains(path, "{") {
				want = append(want, "404")
			}
			for _, status := range want {
				if op.Responses.Value(status) == nil {
					t.Errorf("%s %s: no %s", method, path, status)
				}
			}
			for status, r := range op.Responses.Map() {
				if r.Value.Headers["X-Request-Id"] == nil {
					t.Errorf("%s %s: %s has no X-Request-Id", method, path, status)
				}
			}
		}
	}
}

func TestEveryCodeOfTheDocumentHasAStatus(t *testing.T) {
	codes := document(t).Components.Schemas["ProblemCode"].Value.Enum
	if len(codes) != len(problems) {
		t.Errorf("%d codes in the document, %d in Go", len(codes), len(problems))
	}
	for _, code := range codes {
		p := newProblem(ProblemCode(code.(string)), "")
		if p.Status < 400 || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: %+v", code, p)
		}
	}
}

// The generated types say "required" the way checkJSON reads it.
func TestRequiredMembersOfGeneratedTypes(t *testing.T) {
	for name, typ := range map[string]reflect.Type{
		"SignTokenRequest":   reflect.TypeFor[SignTokenRequest](),
		"SignTokensRequest":  reflect.TypeFor[SignTokensRequest](),
		"SignPayloadRequest": reflect.TypeFor[SignPayloadRequest](),
		"VerifyTokenRequest": reflect.TypeFor[VerifyTokenRequest](),
	} {
		s := document(t).Components.Schemas[name].Value
		fields := fieldsOf(typ)
		if len(fields) != len(s.Properties) {
			t.Errorf("%s: %d fields, %d properties", name, len(fields), len(s.Properties))
		}
		required := 0
		for _, f := range fields {
			if f.required {
				required++
			}
		}
		if required != len(s.Required) {
			t.Errorf("%s: %d required in Go, %d in the document", name, required, len(s.Required))
		}
	}
}

// What the document calls a default is what the tenant package does.
func TestDefaultsAgree(t *testing.T) {
	details := tenant.DefaultPolicy("ES256").Details()
	details["jwks_max_age_seconds"] = tenant.DefaultCaching.MaxAge.Seconds()
	details["jwks_stale_while_revalidate_seconds"] = tenant.DefaultCaching.StaleWhileRevalidate.Seconds()
	details["jwks_stale_if_error_seconds"] = tenant.DefaultCaching.StaleIfError.Seconds()
	details["clock_skew_seconds"] = tenant.DefaultCaching.ClockSkew.Seconds()
	checked := 0
	for _, name := range []string{"PutPolicyRequest", "CreateTenantRequest"} {
		for field, ref := range document(t).Components.Schemas[name].Value.Properties {
			value, has := ref.Value.Extensions["x-default"] // TestRequestMembersHaveNoDefault says why
			if !has {
				continue
			}
			checked++
			got, _ := json.Marshal(value)
			want, _ := json.Marshal(details[field])
			if string(got) != string(want) {
				t.Errorf("%s: %s in the document, %s in Go", field, got, want)
			}
		}
	}
	if checked != 13 {
		t.Errorf("%d defaults", checked)
	}
}

func TestAlgorithmsAgree(t *testing.T) {
	if got, want := fmt.Sprint(document(t).Components.Schemas["Alg"].Value.Enum), fmt.Sprint(tenant.Algorithms); got != want {
		t.Errorf("%s in the document, %s in Go", got, want)
	}
}
