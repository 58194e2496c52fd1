// Package kmstest is a stand-in for key management services in tests: HTTP
// servers that speak as much of the wire protocols of AWS KMS and of Vault's
// transit engine as wrapping a key takes. They check what the services check:
// the key, the caller, and the associated data of real AES-256-GCM.
//
// The answers are written after the services' documentation and sources; what
// they were compared with is in docs/master-keys.md.
//
// Internal to Keyward: no compatibility promise.
package kmstest

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Server is one fake service. It is safe for concurrent use.
type Server struct {
	// URI names a first key on it.
	URI string

	http *httptest.Server
	mu   sync.Mutex
	keys map[string][]cipher.AEAD // by name: one per version of the key
	// what was asked
	calls map[string]int
	last  *http.Request
	// what the next requests get instead of an answer
	next []http.HandlerFunc
	deaf bool // ignores associated data, as an old Vault does
	// called before each request is answered; nil: none
	watch func(context.Context)
}

func newServer(handler func(*Server, http.ResponseWriter, *http.Request)) *Server {
	s := &Server{keys: map[string][]cipher.AEAD{}, calls: map[string]int{}}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only behind the body does the server notice that a client gave up.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		watch, instead := s.countCall(r)
		if watch != nil {
			watch(r.Context())
		}
		if instead != nil {
			instead(w, r)
			return
		}
		handler(s, w, r)
	}))
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

func (s *Server) start(t testing.TB) {
	s.http.Start()
	t.Cleanup(s.http.Close)
}

func (s *Server) countCall(r *http.Request) (watch func(context.Context), instead http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = r
	if len(s.next) == 0 {
		return s.watch, nil
	}
	instead = s.next[0]
	s.next = s.next[1:]
	s.calls["instead"]++
	return s.watch, instead
}

// Watch has f called before each request is answered, which waits until f returns. The
// context is the request's, which ends when its client gives up. nil ends it.
func (s *Server) Watch(f func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = f
}

// Instead has the next requests, one each, answered by these.
func (s *Server) Instead(answers ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = answers
}

// Calls returns how often op was called: "encrypt", "decrypt", or "instead" for
// the calls that Instead answered.
func (s *Server) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Last returns the last request, without its body.
func (s *Server) Last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Deafen makes the server ignore associated data from now on.
func (s *Server) Deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
}

// Close makes the service unreachable.
func (s *Server) Close() { s.http.Close() }

// rotate makes a new version of a key, or a new key.
func (s *Server) rotate(name string) {
	var material [32]byte
	if _, err := rand.Read(material[:]); err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(material[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = append(s.keys[name], aead)
}

var (
	errNoKey      = errors.New("no such key")
	errNoVersion  = errors.New("no such version of the key")
	errCannotOpen = errors.New("not made by this key for this associated data")
)

func (s *Server) encrypt(name string, plain, ad []byte) (version int, sealed []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["encrypt"]++
	versions := s.keys[name]
	if len(versions) == 0 {
		return 0, nil, errNoKey
	}
	if s.deaf {
		ad = nil
	}
	return len(versions), versions[len(versions)-1].Seal(nil, nil, plain, ad), nil
}

func (s *Server) decrypt(name string, version int, sealed, ad []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["decrypt"]++
	versions := s.keys[name]
	switch {
	case len(versions) == 0:
		return nil, errNoKey
	case version < 1 || version > len(versions):
		return nil, errNoVersion
	case s.deaf:
		ad = nil
	}
	plain, err := versions[version-1].Open(nil, nil, sealed, ad)
	if err != nil {
		return nil, errCannotOpen
	}
	return plain, nil
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
