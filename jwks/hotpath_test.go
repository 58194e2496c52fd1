package jwks

import (
	"context"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks/jwkstest"
)

// With a warm cache no lock is taken: every lock there is is held here while
// tokens are verified.
func TestVerifyingTakesNoLock(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example", jose.EdDSA)
	issuers, err := NewIssuers(IssuersConfig{Allow: []string{issuer.URL}, Keys: Config{HTTPClient: issuer.Client()}})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := NewVerifier(VerifierConfig{Issuers: issuers, Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}})
	if err != nil {
		t.Fatal(err)
	}
	raw := issuer.Token("1", jwkstest.Claims{"aud": "orders"})
	if _, err := verifier.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	client, err := issuers.Client(t.Context(), issuer.URL)
	if err != nil {
		t.Fatal(err)
	}
	issuers.mu.Lock()
	client.remote.mu.Lock()
	client.remote.current.Load().mu.Lock()

	done := make(chan error)
	go func() {
		_, err := verifier.Verify(context.Background(), raw)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a lock is wanted")
	}
}

func TestVerifyingAllocatesLittle(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example", jose.EdDSA)
	verifier, err := NewVerifier(VerifierConfig{
		Issuer: issuer.URL, Keys: Config{HTTPClient: issuer.Client()},
		Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}, Scopes: nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	raw := issuer.Token("1", jwkstest.Claims{"aud": "orders", "sub": "alice", "scope": "orders:read"})
	n := testing.AllocsPerRun(100, func() {
		if _, err := verifier.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	})
	if n > 6 {
		t.Errorf("%.0f allocations for a token", n)
	}
}
