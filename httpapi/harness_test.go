package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

const testPublicURL = "https://keys.example.com"

// world is a whole platform behind a listener: everything but the worker.
type world struct {
	t         testing.TB
	dsn       string
	url       string
	server    *server
	tenants   *tenant.Store
	store     *keys.Store
	snapshots *keys.Snapshots
	signer    *keys.Signer
	listener  *db.Listener
	log       *lockedBuffer
	clock     *clock
	contract  *contract

	root string // the key of a platform_admin
}

// clock is the real time, until a test moves it on.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// lockedBuffer is a log that many write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var operator = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "test", Name: "test"}}

// newWorld starts a platform on a fresh database.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, dbtest.New(t))
}

// newWorldOn starts a platform on a migrated database.
func newWorldOn(t testing.TB, dsn string) *world {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dsn: dsn, log: &lockedBuffer{}, clock: &clock{}, contract: contractOf(t)}
	d, err := db.Open(t.Context(), db.Config{URL: w.dsn, MaxConns: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	w.wire(d, uri)
	w.listen()
	handler := httptest.NewServer(w.server)
	t.Cleanup(handler.Close)
	t.Cleanup(w.server.denials.writing.Wait)
	w.url = handler.URL
	_, w.root, err = w.tenants.CreateAPIKey(t.Context(), operator, tenant.NewAPIKey{Role: tenant.PlatformAdmin, Name: "root"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) wire(d *db.DB, masterURI string) {
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	custody := keys.NewCustody(keys.CustodyConfig{DB: d, URI: masterURI, Now: w.clock.now, Log: log})
	if err := custody.Open(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	generator := keys.NewGenerator(keys.GeneratorConfig{Ready: 1})
	w.t.Cleanup(generator.Close)
	w.listener = &db.Listener{URL: w.dsn, Log: log}
	w.store = keys.NewStore(keys.Config{DB: d, Custody: custody, Generator: generator, Now: w.clock.now, Log: log})
	w.snapshots = keys.NewSnapshots(keys.SnapshotsConfig{
		DB: d, PublicURL: testPublicURL, Now: w.clock.now, Log: log, HeardUntil: w.listener.HeardUntil,
	})
	w.signer = keys.NewSigner(keys.SignerConfig{DB: d, Snapshots: w.snapshots, Custody: custody, Now: w.clock.now, Log: log})
	w.tenants = tenant.New(tenant.Config{DB: d, Now: w.clock.now})
	if err := w.store.EnsurePlatform(w.t.Context(), operator); err != nil {
		w.t.Fatal(err)
	}
	h, err := New(Config{
		PublicURL: testPublicURL + "/", Store: w.store, Snapshots: w.snapshots, Signer: w.signer, Tenants: w.tenants,
		Audit: audit.New(audit.Config{DB: d, Now: w.clock.now}), Metrics: prometheus.NewRegistry(),
		Now: w.clock.now, Log: log, Version: "test",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = h.(*server)
}

// listen hears of changes until the test ends, and returns once it does.
func (w *world) listen() {
	connected := make(chan struct{}, 100)
	w.listener.Connected = func() {
		w.snapshots.Missed()
		w.signer.Missed()
		w.tenants.Forget()
		connected <- struct{}{}
	}
	w.listener.Changed = w.server.changed
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { w.listener.Run(ctx) })
	w.t.Cleanup(func() { stop(); done.Wait() })
	<-connected
}

// in is the same world for a part of its test.
func (w *world) in(t testing.TB) *world {
	part := *w
	part.t = t
	return &part
}

// answer is a response that has been read and held against the document.
type answer struct {
	t testing.TB
	*http.Response
	body []byte
}

// do sends a request, with key as its credential if there is one. headers are
// pairs of name and value. A response that the document does not allow fails
// the test, whatever the test is about.
func (w *world) do(method, path, key, body string, headers ...string) *answer {
	w.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return w.send(r)
}

// send is do for a request made by hand.
func (w *world) send(r *http.Request) *answer {
	w.t.Helper()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	a := &answer{t: w.t, Response: res}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		w.t.Fatal(err)
	}
	w.contract.check(w.t, r, a)
	return a
}

// ok demands a status and decodes the body.
func (a *answer) ok(status int, into ...any) *answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Fatalf("%s %s: %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
	for _, v := range into {
		if err := json.Unmarshal(a.body, v); err != nil {
			a.t.Fatalf("%s: %v", a.body, err)
		}
	}
	return a
}

// problem demands a problem with a code and its status.
func (a *answer) problem(code ProblemCode) Problem {
	a.t.Helper()
	var p Problem
	a.ok(problems[code].status, &p)
	if p.Code != code {
		a.t.Fatalf("%s %s: %s, want %s", a.Request.Method, a.Request.URL.Path, a.body, code)
	}
	return p
}

// tenant makes a tenant through the API.
func (w *world) tenant(slug string) Tenant {
	w.t.Helper()
	var t Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"`+slug+`"}`).ok(201, &t)
	return t
}

// key makes a credential of a role, of the tenant if the role is a tenant's.
func (w *world) key(role tenant.Role, of *uuid.UUID) string {
	w.t.Helper()
	if role.OfPlatform() {
		of = nil
	}
	_, key, err := w.tenants.CreateAPIKey(w.t.Context(), operator, tenant.NewAPIKey{TenantID: of, Role: role, Name: string(role)}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// keys lists a tenant's keys in a state.
func (w *world) keys(ref string, state KeyState) []Key {
	w.t.Helper()
	var list KeyList
	w.do("GET", "/v1/tenants/"+ref+"/keys?state="+string(state), w.root, "").ok(200, &list)
	return list.Items
}

// scalar asks the database itself.
func scalar[T any](w *world, sql string, args ...any) (v T) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context())
	if err := conn.QueryRow(w.t.Context(), sql, args...).Scan(&v); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// state is everything that a request could change, in one text.
func (w *world) state() string {
	w.t.Helper()
	w.server.denials.writing.Wait()
	return scalar[string](w, `SELECT concat_ws('|',
		(SELECT string_agg(id || ':' || audit_seq || ':' || status || ':' || updated_at, ',' ORDER BY id) FROM tenants),
		(SELECT string_agg(tenant_id || alg || updated_at || is_default, ',' ORDER BY tenant_id, alg) FROM policies),
		(SELECT string_agg(kid || state, ',' ORDER BY kid) FROM keys),
		(SELECT count(*) FROM audit_events WHERE action <> 'authorization.denied'),
		(SELECT count(*) FROM api_keys WHERE revoked_at IS NULL), (SELECT count(*) FROM idempotency_keys))`)
}

// contract holds responses against the document.
type contract struct {
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]map[int]bool // statuses by operationId
}

// loadContract is shared by the tests of the package, so that TestMain sees what
// all of them saw.
var loadContract = sync.OnceValues(func() (*contract, error) {
	doc, err := readDocument()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{mimePEM, "text/html", "application/yaml"} {
		openapi3filter.RegisterBodyDecoder(name, openapi3filter.FileBodyDecoder)
	}
	for _, name := range []string{"application/jwk-set+json", mimeJWK} {
		openapi3filter.RegisterBodyDecoder(name, openapi3filter.RegisteredBodyDecoder("application/json"))
	}
	router, err := legacy.NewRouter(doc)
	return &contract{doc: doc, router: router, seen: map[string]map[int]bool{}}, err
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
	bare.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	bare.Host = ""
	route, params, err := c.router.FindRoute(&bare)
	if err != nil { // not in the document
		if a.StatusCode < 400 && r.URL.Path != "/metrics" && r.Method != "OPTIONS" && r.Method != "HEAD" {
			t.Errorf("%s %s answers %d, but is not in the document", r.Method, r.URL.Path, a.StatusCode)
		}
		return
	}
	c.mu.Lock()
	if c.seen[route.Operation.OperationID] == nil {
		c.seen[route.Operation.OperationID] = map[int]bool{}
	}
	c.seen[route.Operation.OperationID][a.StatusCode] = true
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
