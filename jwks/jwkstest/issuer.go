// Package jwkstest is an issuer for tests of services that verify tokens: it
// makes keys and tokens and serves its key set, over HTTP or, for tests with a
// fake clock, without any network. Its keys are worth nothing elsewhere.
package jwkstest

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An Issuer has signing keys and serves the public ones. It is safe for
// concurrent use, and an [http.Handler] at its own URL.
type Issuer struct {
	URL string // of the issuer, as iss has it

	mu       sync.Mutex
	keys     []key
	answer   http.HandlerFunc // nil is the key set
	control  string
	epoch    string
	requests int
	sets     int
}

type key struct {
	alg     jose.SignatureAlgorithm
	kid     string
	private crypto.Signer
}

// New returns an issuer with one key, kid "1", for each algorithm: "1", "2" and so
// on. Without algorithms it is ES256.
func New(url string, algorithms ...jose.SignatureAlgorithm) *Issuer {
	if len(algorithms) == 0 {
		algorithms = []jose.SignatureAlgorithm{jose.ES256}
	}
	i := &Issuer{URL: url, control: "max-age=300"}
	for n, alg := range algorithms {
		i.Add(strconv.Itoa(n+1), alg)
	}
	return i
}

// Add generates a key and publishes it.
func (i *Issuer) Add(kid string, alg jose.SignatureAlgorithm) {
	private := mustGenerate(alg)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, key{alg, kid, private})
}

// Revoke removes a key from the set and drops it.
func (i *Issuer) Revoke(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = slices.DeleteFunc(i.keys, func(k key) bool { return k.kid == kid })
}

// Answer replaces the key set by an answer of the test's own; nil restores it.
func (i *Issuer) Answer(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

// CacheControl sets the Cache-Control of the key set; the default is "max-age=300".
func (i *Issuer) CacheControl(value string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.control = value
}

// NotBefore sets the Keyward-Not-Before of the key set; a zero time removes it.
func (i *Issuer) NotBefore(at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.epoch = ""; !at.IsZero() {
		i.epoch = strconv.FormatInt(at.Unix(), 10)
	}
}

// Requests returns the number of requests for the key set.
func (i *Issuer) Requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// Sent returns how many of them were answered with a key set, rather than with 304
// or an error.
func (i *Issuer) Sent() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sets
}

// Client returns a client that reaches the issuer without a network, whatever the
// host is.
func (i *Issuer) Client() *http.Client { return &http.Client{Transport: transport{i}} }

// transport answers requests in the goroutine that makes them.
type transport struct{ handler http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	t.handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response := w.Result()
	response.Request = r
	return response, nil
}

// JWKS returns the key set.
func (i *Issuer) JWKS() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	set := struct {
		Keys []jose.JSONWebKey `json:"keys"`
	}{Keys: []jose.JSONWebKey{}}
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Algorithm: string(k.alg), Use: "sig"})
	}
	raw, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return raw
}

// ServeHTTP serves the metadata at both well-known places, and the key set at
// the path "/jwks.json" below the issuer's URL.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.Contains(r.URL.Path, "/.well-known/"):
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.JWKSURL()})
	case strings.HasSuffix(r.URL.Path, "/jwks.json"):
		i.serveSet(w, r)
	default:
		http.NotFound(w, r)
	}
}

// JWKSURL returns the URL of the key set.
func (i *Issuer) JWKSURL() string { return strings.TrimSuffix(i.URL, "/") + "/jwks.json" }

func (i *Issuer) serveSet(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests++
	answer, control, epoch := i.answer, i.control, i.epoch
	i.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	set := i.JWKS()
	sum := sha256.Sum256(set)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", control)
	if epoch != "" {
		w.Header().Set("Keyward-Not-Before", epoch)
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	i.mu.Lock()
	i.sets++
	i.mu.Unlock()
	_, _ = w.Write(set)
}
