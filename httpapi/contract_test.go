package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// contract holds responses against the document.
type contract struct {
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]map[string]bool // statuses and media types by operationId
}

// loadContract is shared by the tests of the package, so that TestMain sees what
// all of them saw.
var loadContract = sync.OnceValues(func() (*contract, error) {
	doc, err := readDocument()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{
		mimePEM, mimeDER, "text/html", "text/css", "text/javascript", "application/yaml", mimeEventStream, mimeNDJSON, mimeCSV, mimeKeyHistory,
	} {
		openapi3filter.RegisterBodyDecoder(name, openapi3filter.FileBodyDecoder)
	}
	for _, name := range []string{"application/jwk-set+json", mimeJWK} {
		openapi3filter.RegisterBodyDecoder(name, openapi3filter.RegisteredBodyDecoder("application/json"))
	}
	router, err := legacy.NewRouter(doc)
	return &contract{doc: doc, router: router, seen: map[string]map[string]bool{}}, err
})

func contractOf(t testing.TB) *contract {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check fails the test for a response that the document does not allow, or that
// holds what none may hold.
func (c *contract) check(t testing.TB, r *http.Request, a *answer) {
	t.Helper()
	if !isRequestID(a.Header.Get("X-Request-Id")) {
		t.Errorf("%s %s: X-Request-Id %q", r.Method, r.URL.Path, a.Header.Get("X-Request-Id"))
	}
	noPrivateMembers(t, r, a)
	bare := *r
	bare.URL = &url.URL{Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery}
	bare.Host = ""
	route, params, err := c.router.FindRoute(&bare)
	if err != nil || a.StatusCode == http.StatusMethodNotAllowed { // not in the document
		if a.StatusCode < 400 && r.URL.Path != "/metrics" && r.Method != "OPTIONS" && r.Method != "HEAD" {
			t.Errorf("%s %s answers %d, but is not in the document", r.Method, r.URL.Path, a.StatusCode)
		}
		return
	}
	c.mu.Lock()
	if c.seen[route.Operation.OperationID] == nil {
		c.seen[route.Operation.OperationID] = map[string]bool{}
	}
	for _, what := range []string{strconv.Itoa(a.StatusCode), form(a.StatusCode, a.Header.Get("Content-Type"))} {
		c.seen[route.Operation.OperationID][what] = true
	}
	c.mu.Unlock()
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: &bare, PathParams: params, Route: route},
		Status:                 a.StatusCode, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: r.Method == "HEAD" || len(a.body) == 0},
	})
	if err != nil {
		t.Errorf("%s %s: %d is not what the document says: %v\n%s", r.Method, r.URL.Path, a.StatusCode, err, a.body)
	}
}

// noPrivateMembers looks into every object that is a JWK (RFC 7518 sections
// 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2), and for PEM of private keys.
func noPrivateMembers(t testing.TB, r *http.Request, a *answer) {
	t.Helper()
	if bytes.Contains(a.body, []byte("PRIVATE KEY")) {
		t.Errorf("%s %s: a private key", r.Method, r.URL.Path)
	}
	var v any
	if json.Unmarshal(a.body, &v) != nil {
		return
	}
	var look func(any)
	look = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				look(member)
				if _, jwk := v["kty"]; jwk && strings.Contains(" d p q dp dq qi k oth priv ", " "+name+" ") {
					t.Errorf("%s %s: a JWK has %s", r.Method, r.URL.Path, name)
				}
			}
		case []any:
			for _, item := range v {
				look(item)
			}
		}
	}
	look(v)
}

// form names a response by its status and its media type.
func form(status int, contentType string) string {
	name, _, _ := strings.Cut(contentType, ";")
	return strconv.Itoa(status) + " " + name
}
