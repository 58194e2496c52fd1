package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// fail answers a request whose handler returns err.
func fail(t *testing.T, method string, err error) (*http.Response, Problem, string) {
	t.Helper()
	var log bytes.Buffer
	e := echo.New()
	e.HTTPErrorHandler = ErrorHandler(slog.New(slog.NewTextHandler(&log, nil)))
	e.Add(method, "/x/:id", func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderXRequestID, "req-1")
		c.Response().Header().Set(echo.HeaderCacheControl, "public, max-age=300")
		c.Response().Header().Set("ETag", `"1"`)
		return err
	})
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequest(method, "/x/1", nil))
	var p Problem
	if method != http.MethodHead {
		dec := json.NewDecoder(rec.Body)
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
	}
	return rec.Result(), p, log.String()
}

func TestErrorsBecomeProblems(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("outer: %w", err) }
	for _, c := range []struct {
		err    error
		status int
		code   ProblemCode
	}{
		{wrap(tenant.ErrNotFound), 404, ProblemCodeTenantNotFound},
		{wrap(tenant.ErrSlugTaken), 409, ProblemCodeConflict},
		{wrap(tenant.ErrDomainTaken), 409, ProblemCodeConflict},
		{wrap(tenant.ErrSuspended), 409, ProblemCodeTenantSuspended},
		{wrap(tenant.ErrBuiltIn), 409, ProblemCodeConflict},
		{wrap(&keys.StateError{KID: "k", From: keys.Purged, To: keys.Revoked}), 409, ProblemCodeInvalidTransition},
		{wrap(keys.ErrInvalidTransition), 409, ProblemCodeInvalidTransition},
		{wrap(tenant.ErrNoAPIKey), 404, ProblemCodeNotFound},
		{wrap(tenant.ErrIdempotencyMismatch), 409, ProblemCodeConflict},
		{wrap(tenant.ErrTooManyAnswers), 429, ProblemCodeRateLimited},
		{wrap(tenant.ErrBadCursor), 400, ProblemCodeInvalidRequest},
		{wrap(tenant.ErrUnavailable), 503, ProblemCodeUnavailable},
		{wrap(moves.ErrUnavailable), 503, ProblemCodeUnavailable},
		{wrap(audit.ErrUnavailable), 503, ProblemCodeUnavailable},
		{wrap(&tenant.FieldErrors{}), 400, ProblemCodeInvalidRequest},
		{wrap(&tenant.PolicyError{}), 422, ProblemCodePolicyViolation},
		{wrap(audit.ErrNotFound), 404, ProblemCodeTenantNotFound},
		{wrap(audit.ErrBadCursor), 400, ProblemCodeInvalidRequest},
		{wrap(moves.ErrNotFound), 404, ProblemCodeKeyNotFound},
		{wrap(signing.ErrNotDeleted), 404, ProblemCodeTenantNotFound},
		{wrap(keys.ErrPolicyNotFound), 422, ProblemCodePolicyViolation},
		{wrap(moves.ErrDefaultPolicy), 409, ProblemCodeConflict},
		{wrap(moves.ErrRotationWaits), 409, ProblemCodeConflict},
		{errNoCredential, 401, ProblemCodeUnauthenticated},
		{tenant.ErrUnauthenticated, 401, ProblemCodeUnauthenticated},
		{errForbidden, 403, ProblemCodeForbidden},
		{wrap(tenant.ErrNoRole), 403, ProblemCodeForbidden},
		{wrap(tenant.ErrNoIdentityProvider), 503, ProblemCodeUnavailable},
		{&rateLimitedError{time.Second}, 429, ProblemCodeRateLimited},
		{&moves.RateError{RetryAfter: time.Minute}, 429, ProblemCodeRateLimited},
		{&tenant.LimitError{What: "live API keys", Limit: 7}, 422, ProblemCodePolicyViolation},
		{context.DeadlineExceeded, 503, ProblemCodeUnavailable},
		{context.Canceled, 503, ProblemCodeUnavailable},
		{&http.MaxBytesError{}, 413, ProblemCodePayloadTooLarge},
		{invalidField("a", "is required"), 400, ProblemCodeInvalidRequest},
		{echo.ErrNotFound, 404, ProblemCodeNotFound},
		{echo.ErrUnsupportedMediaType, 415, ProblemCodeUnsupportedMediaType},
		{echo.ErrStatusRequestEntityTooLarge, 413, ProblemCodePayloadTooLarge},
		{echo.NewHTTPError(400, "hunter2"), 400, ProblemCodeInvalidRequest},
		{echo.NewHTTPError(500, "hunter2").SetInternal(tenant.ErrNotFound), 404, ProblemCodeTenantNotFound},
		{echo.NewHTTPError(418, "hunter2"), 500, ProblemCodeInternal},
		{errors.New("hunter2"), 500, ProblemCodeInternal},
	} {
		res, p, _ := fail(t, http.MethodGet, c.err)
		if res.StatusCode != c.status || p.Status != c.status || p.Code != c.code {
			t.Errorf("%v: %d %+v", c.err, res.StatusCode, p)
		}
		if p.Type != "urn:keyward:problem:"+string(c.code) || p.Title == "" || p.Detail == "" {
			t.Errorf("%v: %+v", c.err, p)
		}
		if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%v: content type %s", c.err, got)
		}
		if strings.Contains(fmt.Sprint(p), "hunter2") || res.Header.Get("ETag") != "" {
			t.Errorf("%v: says too much: %+v", c.err, p)
		}
		if noStore := res.Header.Get("Cache-Control") == "no-store"; noStore != (c.status >= 500) {
			t.Errorf("%v: Cache-Control %s", c.err, res.Header.Get("Cache-Control"))
		}
	}
}

func TestProblemsKeepFieldErrors(t *testing.T) {
	broken := []tenant.FieldError{{Field: "policies[0].alg", Message: "must be one of: <none>"}}
	for _, err := range []error{
		invalidField(broken[0].Field, broken[0].Message),
		&tenant.FieldErrors{Fields: broken},
		&tenant.PolicyError{Fields: broken},
	} {
		_, p, log := fail(t, http.MethodPost, fmt.Errorf("x: %w", err))
		if len(p.Errors) != 1 || p.Errors[0] != FieldError(broken[0]) {
			t.Errorf("%v: %+v", err, p)
		}
		if log != "" {
			t.Errorf("a client's fault was logged: %s", log)
		}
	}
}

func TestUnknownErrorsAreLoggedOnce(t *testing.T) {
	_, _, log := fail(t, http.MethodGet, errors.New("disk on fire"))
	for _, want := range []string{"disk on fire", "req-1", "route=/x/:id", "level=ERROR"} {
		if strings.Count(log, want) != 1 {
			t.Errorf("%q not once in %q", want, log)
		}
	}
	if _, _, log := fail(t, http.MethodGet, context.Canceled); log != "" {
		t.Errorf("a client that left was logged: %s", log)
	}
}

func TestErrorIsAnsweredOnce(t *testing.T) {
	var log bytes.Buffer
	e := echo.New()
	e.HTTPErrorHandler = ErrorHandler(slog.New(slog.NewTextHandler(&log, nil)))
	e.GET("/", func(c echo.Context) error {
		err := errors.New("boom")
		c.Error(err) // as echo's own middlewares do
		return err
	})
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if strings.Count(log.String(), "boom") != 1 || strings.Count(rec.Body.String(), `"code"`) != 1 {
		t.Errorf("%s\n%s", log.String(), rec.Body)
	}
}

func TestProblemHeaders(t *testing.T) {
	for _, c := range []struct {
		err          error
		header, want string
	}{
		{errNoCredential, "WWW-Authenticate", `Bearer realm="keyward"`},
		{tenant.ErrUnauthenticated, "WWW-Authenticate", `Bearer realm="keyward", error="invalid_token"`},
		{errForbidden, "WWW-Authenticate", `Bearer realm="keyward", error="insufficient_scope"`},
		{&rateLimitedError{1500 * time.Millisecond}, "Retry-After", "2"},
		{&rateLimitedError{}, "Retry-After", "1"},
		{context.DeadlineExceeded, "Retry-After", "5"},
	} {
		res, _, _ := fail(t, http.MethodGet, c.err)
		if got := res.Header.Get(c.header); got != c.want {
			t.Errorf("%v: %s: %q, want %q", c.err, c.header, got, c.want)
		}
	}
}

func TestRoutingProblems(t *testing.T) {
	e := echo.New()
	e.HTTPErrorHandler = ErrorHandler(slog.New(slog.DiscardHandler))
	e.PUT("/a", nil)
	e.DELETE("/a", nil)
	for target, want := range map[string]int{"/a": 405, "/b": 404} {
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, target, nil))
		if rec.Code != want || rec.Header().Get("Content-Type") != problemJSON {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Header())
		}
		if allow := rec.Header().Get("Allow"); want == 405 && (!strings.Contains(allow, "PUT") || !strings.Contains(allow, "DELETE")) {
			t.Errorf("Allow: %q", allow)
		}
	}
}

func TestHeadProblemHasNoBody(t *testing.T) {
	rec, _, _ := fail(t, http.MethodHead, tenant.ErrNotFound)
	if rec.StatusCode != 404 || rec.Header.Get("Content-Type") != problemJSON || rec.ContentLength > 0 {
		t.Errorf("%+v", rec)
	}
}

// silent are exported errors that a caller of the API never causes: they are
// answered as internal, on purpose.
var silent = map[string]bool{
	"tenant.ErrNoPlatform":         true, // the program makes it before it serves
	"tenant.ErrNoAuthority":        true, // the program opens the key before it serves
	"tenant.ErrPublicURLTaken":     true, // the program does not start then
	"keys.ErrUnsupportedAlgorithm": true, // refused by the document before
	"keys.ErrKeyMaterial":          true, // only import brings in key material
	"keys.ErrKID":                  true, // only import brings in a kid
	"custody.ErrNoMasterKey":       true, // the program does not start then
	"custody.ErrWrongMasterKey":    true, // the program does not start then
	"moves.ErrBadSeed":             true, // keyward bench alone seeds
	"moves.ErrNotSuperuser":        true,
	"tokens.VerifyError":           true, // it is the answer of verifyToken, not an error
	"custody.ErrDataKey":           true, // for an operator to see in the log
	"signing.ErrCheckpoint":        true, // of keyward audit verify
	"audit.ErrLine":                true, // of keyward audit verify
	"audit.BrokenError":            true, // of keyward audit verify
	"custody.WrapsError":           true, // of keyward master retire
	"tenant.NeedsApprovalError":    true, // answered 202 with an approval
}

// Every exported error of the packages below is in the table or in silent.
func TestEveryExportedErrorIsInTheTable(t *testing.T) {
	table, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"tenant", "keys", "keys/tokens", "keys/keyfile", "keys/custody", "keys/snapshot", "keys/signing", "keys/moves", "audit", "webhook"} {
		for _, name := range exportedErrors(t, filepath.Join("..", pkg)) {
			if name = path.Base(pkg) + "." + name; !silent[name] && !strings.Contains(string(table), name) {
				t.Errorf("%s is neither in the table of problem.go nor in silent", name)
			}
		}
	}
}

// exportedErrors lists the variables Err… and the types …Error of a package.
func exportedErrors(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return false
			case *ast.ValueSpec:
				for _, id := range n.Names {
					if strings.HasPrefix(id.Name, "Err") {
						names = append(names, id.Name)
					}
				}
			case *ast.TypeSpec:
				if n.Name.IsExported() && strings.HasSuffix(n.Name.Name, "Error") {
					names = append(names, n.Name.Name)
				}
			}
			return true
		})
	}
	return names
}
