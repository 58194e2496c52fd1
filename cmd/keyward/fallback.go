package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/tenant"
)

// fallback answers verifiers from a directory that KEYWARD_PUBLISH has written, while the
// process starts without the database. A document is served only if
//
//   - nobody but its owner can write it;
//   - the tenant's signed set verifies with the plain set, has the same keys, and is
//     neither beyond its exp nor older than KEYWARD_MAX_STALE;
//   - no newer state was about to be written when a publisher was ended.
//
// It is marked as stale. All other requests are answered with 503.
type fallback struct {
	root     *os.Root
	maxStale time.Duration
}

const (
	openRetry       = time.Second // between attempts to reach the database
	fallbackMaxAge  = 60          // seconds for which caches keep such an answer
	maxDocumentSize = 4 << 20
)

// fallbackPath matches the public paths, with the slug of a tenant in them.
var fallbackPath = regexp.MustCompile(`^/(?:t/([a-z0-9-]{1,63})/)?\.well-known/(?:jwks\.json|jwks\.jwt|openid-configuration)$|^/\.well-known/oauth-authorization-server/t/([a-z0-9-]{1,63})$`)

// errNotCurrent means that a document must not be served.
var errNotCurrent = errors.New("no current copy")

// ServeHTTP implements [http.Handler].
func (f *fallback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	m := fallbackPath.FindStringSubmatch(r.URL.Path)
	switch {
	case r.URL.Path == "/healthz" || r.URL.Path == "/readyz/public":
		h.Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"ok","checks":{"process":{"ok":true}}}` + "\n"))
		return
	case m == nil || r.Method != http.MethodGet && r.Method != http.MethodHead:
		unavailable(w)
		return
	}
	slug := m[1] + m[2]
	if slug == "" {
		slug = tenant.PlatformSlug // a host of a tenant's own is unknown without the database
	}
	body, age, err := f.document(slug, r.URL.Path[1:], time.Now())
	if err != nil {
		unavailable(w)
		return
	}
	sum := sha256.Sum256(body)
	h.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:18])+`"`)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(fallbackMaxAge))
	h.Set("Keyward-Stale", strconv.FormatInt(int64(max(age, time.Second)/time.Second), 10))
	h.Set("Warning", `110 - "Response is Stale"`)
	h.Set("Content-Type", "application/json")
	if r.URL.Path[len(r.URL.Path)-4:] == ".jwt" {
		h.Set("Content-Type", "application/jwk-set+jwt")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// unavailable answers with the problem that the service has without its database.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"the database is unavailable","code":"unavailable"}` + "\n"))
}

// document returns a document of a tenant, and how old its state may be.
func (f *fallback) document(slug, path string, now time.Time) (body []byte, age time.Duration, err error) {
	paths := publicPaths(slug)
	set, err := f.read(paths.set)
	if err != nil {
		return nil, 0, err
	}
	signed, err := f.read(paths.signedSet)
	if err != nil {
		return nil, 0, err
	}
	payload, err := tokens.VerifyAttestation(string(signed), tokens.HistoryType, set)
	if err != nil {
		return nil, 0, err
	}
	var claims struct {
		IssuedAt int64           `json:"iat"`
		Expires  int64           `json:"exp"`
		Epoch    int64           `json:"epoch"`
		Version  int64           `json:"version"`
		Keys     json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, 0, err
	}
	latest, err := publish.LatestOrder(f.root, slug)
	if err != nil {
		return nil, 0, err
	}
	age = now.Sub(time.Unix(claims.IssuedAt, 0))
	if string(set) != `{"keys":`+string(claims.Keys)+`}` || claims.Epoch != latest.Epoch || claims.Version != latest.Version ||
		now.Unix() >= claims.Expires || age > f.maxStale {
		return nil, 0, errNotCurrent
	}
	switch path {
	case paths.set:
		return set, age, nil
	case paths.signedSet:
		return signed, age, nil
	}
	body, err = f.read(path)
	return body, age, err
}

// read reads a document that nobody else can have written.
func (f *fallback) read(path string) ([]byte, error) {
	info, err := f.root.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxDocumentSize || othersCanWrite(info) {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrPermission)
	}
	return f.root.ReadFile(path)
}

// othersCanWrite reports whether users other than the owner can change a file.
func othersCanWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// openWithFallback opens the app. While the database is unavailable and there are copies
// to serve, it serves them on the public address and tries again.
func (p *program) openWithFallback(ctx context.Context, publicURL string, public net.Listener) (*app, error) {
	a, err := p.openApp(ctx, publicURL)
	if err == nil || p.cfg.fallbackDir == "" || !errors.Is(err, db.ErrUnavailable) {
		return a, err
	}
	root, bad := os.OpenRoot(p.cfg.fallbackDir)
	if bad != nil {
		return nil, errors.Join(err, bad)
	}
	defer root.Close()
	if info, bad := root.Stat("."); bad != nil || othersCanWrite(info) {
		return nil, errors.Join(err, fmt.Errorf("KEYWARD_FALLBACK_DIR: others can write %s: %w", p.cfg.fallbackDir, fs.ErrPermission))
	}
	transport, bad := p.cfg.loadTransport()
	if bad != nil {
		return nil, bad
	}
	p.log.Warn("the database is unavailable: serving copies of JWK Sets until it is back", "dir", p.cfg.fallbackDir, "addr", public.Addr().String(), "error", err)
	stop := serveFallback(newServer(&fallback{root: root, maxStale: p.cfg.maxStale}, p.log), transport, public)
	defer stop()
	notifySystemd("READY=1")
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(openRetry):
		}
		if a, err = p.openApp(ctx, publicURL); err == nil || !errors.Is(err, db.ErrUnavailable) {
			return a, err
		}
	}
}

// serveFallback serves until stop is called, which leaves the listener open: connections
// that arrive meanwhile wait for the service.
func serveFallback(s *http.Server, t transport, public net.Listener) (stop func()) {
	t.secureMain(s)
	held := &heldListener{Listener: public}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if s.TLSConfig != nil {
			_ = s.ServeTLS(held, "", "") // always an error: it is stopped
			return
		}
		_ = s.Serve(held)
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // what is left is cut off
		}
		<-ended
		held.release()
	}
}

// heldListener ends Accept when it is closed, and keeps the listener below open.
type heldListener struct{ net.Listener }

type deadliner interface{ SetDeadline(time.Time) error }

// Accept implements [net.Listener].
func (l *heldListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = net.ErrClosed
	}
	return conn, err
}

// Close implements [net.Listener].
func (l *heldListener) Close() error {
	if d, ok := l.Listener.(deadliner); ok {
		return d.SetDeadline(time.Unix(1, 0))
	}
	return nil
}

// release lets the listener accept again.
func (l *heldListener) release() {
	if d, ok := l.Listener.(deadliner); ok {
		_ = d.SetDeadline(time.Time{}) // fails only for a listener that is closed
	}
}
