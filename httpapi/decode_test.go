package httpapi

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/keyward/keyward/internal/strictjson"
)

func request(body string, contentType string) echo.Context {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set(echo.HeaderContentType, contentType)
	}
	return echo.New().NewContext(r, httptest.NewRecorder())
}

func TestDecodeRefuses(t *testing.T) {
	big := strings.Repeat("[", strictjson.MaxDepth+1) + strings.Repeat("]", strictjson.MaxDepth+1)
	for name, c := range map[string]struct{ body, field, message string }{
		"nothing":                    {"", "", ""},
		"no JSON":                    {`{"claims":`, "", ""},
		"trailing data":              {`{"claims":{}} {}`, "", ""},
		"trailing bracket":           {`{"claims":{}}]`, "", ""},
		"another value":              {`["claims"]`, "", "must be an object"},
		"null":                       {`null`, "", "must not be null"},
		"unknown member":             {`{"claims":{},"algo":"ES256"}`, "algo", "is not known; accepted: alg, claims, headers, nbf, profile, ttl_seconds, typ"},
		"another case":               {`{"Claims":{}}`, "Claims", "is not known; accepted: alg, claims, headers, nbf, profile, ttl_seconds, typ"},
		"missing member":             {`{"alg":"ES256"}`, "claims", "is required"},
		"member twice":               {`{"claims":{},"claims":{}}`, "claims", "must not be given twice"},
		"member twice by an escape":  {`{"claims":{},"cl\u0061ims":{}}`, "claims", "must not be given twice"},
		"claim twice":                {`{"claims":{"sub":"a","aud":{"x":1,"x":2}}}`, "claims.aud.x", "must not be given twice"},
		"claim twice in an array":    {`{"claims":{"a":[0,{"x":1,"x":2}]}}`, "claims.a[1].x", "must not be given twice"},
		"claims that are no object":  {`{"claims":["a"]}`, "claims", "must be an object"},
		"claims that are null":       {`{"claims":null}`, "claims", "must be an object"},
		"optional null":              {`{"claims":{},"typ":null}`, "typ", "must not be null"},
		"wrong type":                 {`{"claims":{},"typ":7}`, "typ", "must be a string"},
		"fraction":                   {`{"claims":{},"ttl_seconds":1.5}`, "ttl_seconds", "must be an integer of 64 bits, written without fraction and exponent"},
		"too large a number":         {`{"claims":{},"ttl_seconds":9223372036854775808}`, "ttl_seconds", "must be an integer of 64 bits, written without fraction and exponent"},
		"not UTF-8":                  {"{\"claims\":{\"sub\":\"\xff\"}}", "", ""},
		"byte order mark":            {"\ufeff{\"claims\":{}}", "", ""},
		"high surrogate alone":       {`{"claims":{"sub":"\ud83d"}}`, "claims.sub", "must not have an unpaired surrogate"},
		"low surrogate alone":        {`{"claims":{"sub":"\ude00x"}}`, "claims.sub", "must not have an unpaired surrogate"},
		"surrogate before an escape": {`{"claims":{"sub":"\ud83d\n\ude00"}}`, "claims.sub", "must not have an unpaired surrogate"},
		"deep":                       {`{"claims":{"a":` + big + `}}`, "", ""},
		"deep and no JSON":           {strings.Repeat("[", 1<<20), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var v SignTokenRequest
			err := decodeBody(request(c.body, "application/json"), &v)
			var p *Problem
			if !errors.As(err, &p) || p.Code != ProblemCodeInvalidRequest {
				t.Fatalf("got %v", err)
			}
			var want []FieldError
			if c.message != "" {
				want = []FieldError{{c.field, c.message}}
			}
			if !reflect.DeepEqual(p.Errors, want) {
				t.Errorf("got %v, want %v", p.Errors, want)
			}
		})
	}
}

func TestDecodeKeepsWhatItDoesNotKnow(t *testing.T) {
	for _, claims := range []string{
		`{}`,
		`{"n":12345678901234567890.10,"e":1e400}`,
		`{"sub":"\ud83d\ude00 \ufffd \\ud83d \u00e9 \"{[","Sub":"{"}`,
		"{\"a\" : [ ] ,\n\t\"b\":[1 , {}, \"�\"] , \"\":null}",
	} {
		var v SignTokenRequest
		if err := decodeBody(request(` {"claims":`+claims+`} `, "application/json; charset=UTF-8"), &v); err != nil {
			t.Errorf("%s: %v", claims, err)
		}
		if string(v.Claims) != claims {
			t.Errorf("got %s, want %s", v.Claims, claims)
		}
	}
}

func TestDecodeDefersEntries(t *testing.T) {
	var v struct {
		Tokens []Deferred `json:"tokens"`
	}
	body := `{"tokens":[{"claims":{"a":1,"a":2}},{"claims":{}},"\ud800"]}`
	if err := decodeBody(request(body, "application/json"), &v); err != nil {
		t.Fatal(err)
	}
	for i, valid := range []bool{false, true, false} {
		var entry SignTokenRequest
		if err := decodeStrict(v.Tokens[i], &entry); (err == nil) != valid {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	if err := decodeBody(request(`{"tokens":[],"tokens":[]}`, "application/json"), &v); err == nil {
		t.Error("a member twice outside the entries passed")
	}
}

func TestDecodeOptionalBody(t *testing.T) {
	v := RotateRequest{Reason: new(string)}
	if err := decodeOptionalBody(request("", ""), &v); err != nil || v.Reason == nil {
		t.Errorf("no body: %v, %+v", err, v)
	}
	if err := decodeOptionalBody(request(`{"dry_run":true}`, "application/json"), &v); err != nil || !*v.DryRun {
		t.Errorf("a body: %v, %+v", err, v)
	}
}

func TestDecodeContentType(t *testing.T) {
	for _, contentType := range []string{
		"", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json; charset=latin1", ";",
	} {
		var p *Problem
		err := decodeBody(request(`{"claims":{}}`, contentType), &SignTokenRequest{})
		if !errors.As(err, &p) || p.Status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %v", contentType, err)
		}
	}
}

func TestDecodeTooLarge(t *testing.T) {
	e := echo.New()
	for name, limit := range map[string]func(echo.Context){
		"net/http": func(c echo.Context) { c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, 5) },
		"echo": func(c echo.Context) {
			c.Request().ContentLength = -1
			_ = middleware.BodyLimit("5B")(func(echo.Context) error { return nil })(c)
		},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(`{"claims":{}}`)))
		r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
		c := e.NewContext(r, httptest.NewRecorder())
		limit(c)
		p, _ := problemOf(decodeBody(c, &SignTokenRequest{}))
		if p.Code != ProblemCodePayloadTooLarge {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestDecodeBrokenBody(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(`{`), failing{}))
	r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	p, known := problemOf(decodeBody(echo.New().NewContext(r, nil), &SignTokenRequest{}))
	if !known || p.Code != ProblemCodeInvalidRequest {
		t.Errorf("%+v", p)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// checkJSON never panics on what it is given, and refuses what is not JSON.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"claims":{"a":[1,{"b":"\ud83d\ude00"}]}}`, `{"claims":{},"claims":{}}`, `[`, `"\u`, `{"a" :1 , "b":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v SignTokenRequest
		if err := decodeStrict(data, &v); err == nil && len(v.Claims) == 0 {
			t.Errorf("accepted %q without claims", data)
		}
		var entries struct {
			Tokens []Deferred `json:"tokens"`
		}
		_ = decodeStrict(data, &entries)
	})
}
