package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/tenant"
)

// fallback answers verifiers from a directory that KEYWARD_PUBLISH has written, while the
// process starts without the database. A document is served only if
//
//   - nobody but the directory's owner can have written it, or linked to it;
//   - the tenant's signed set verifies with the plain set, has the same keys, and is
//     neither beyond its exp nor older than KEYWARD_MAX_STALE;
//   - no newer state was about to be written when a publisher was ended.
//
// It is marked as stale. All other requests are answered with 503.
type fallback struct {
	root     *os.Root
	info     fs.FileInfo // of root
	maxStale time.Duration
}

const (
	fallbackMaxAge  = 60 // seconds for which caches keep such an answer
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
	if m == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
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

// unavailable answers with the problem that the service has without its database or KMS.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"PostgreSQL or the KMS does not respond","code":"unavailable"}` + "\n"))
}

// document returns a document of a tenant, and how old its state may be.
func (f *fallback) document(slug, path string, now time.Time) (body []byte, age time.Duration, err error) {
	paths := httpapi.PathsOf(slug)
	set, err := f.read(paths.Set)
	if err != nil {
		return nil, 0, err
	}
	signed, err := f.read(paths.SignedSet)
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
	case paths.Set:
		return set, age, nil
	case paths.SignedSet:
		return signed, age, nil
	}
	body, err = f.read(path)
	return body, age, err
}

// read reads a document that nobody else can have written: whoever can write a directory
// above it could have put another file, or a symbolic link to that of another tenant, in
// its place.
func (f *fallback) read(path string) ([]byte, error) {
	for i, r := range path + "/" {
		if r != '/' {
			continue
		}
		info, err := f.root.Lstat(path[:i])
		if err != nil {
			return nil, err
		}
		whole := i == len(path)
		if whole != info.Mode().IsRegular() || !whole && !info.IsDir() || whole && info.Size() > maxDocumentSize || othersCanWrite(info) || !sameOwner(info, f.info) {
			return nil, fmt.Errorf("%s: %w", path[:i], fs.ErrPermission)
		}
	}
	return f.root.ReadFile(path)
}

// othersCanWrite reports whether users other than the owner can change a file.
func othersCanWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// openFallback returns the handler of KEYWARD_FALLBACK_DIR, nil without one. The caller
// must close its root.
func (c config) openFallback() (*fallback, error) {
	if c.fallbackDir == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(c.fallbackDir)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil && othersCanWrite(info) {
		err = fmt.Errorf("KEYWARD_FALLBACK_DIR: others can write %s: %w", c.fallbackDir, fs.ErrPermission)
	}
	if err != nil {
		_ = root.Close() // nothing was written
		return nil, err
	}
	return &fallback{root: root, info: info, maxStale: c.maxStale}, nil
}
