package moves

import (
	"context"
	"crypto/rsa"
	"errors"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/keys"
)

func TestGeneratorKeepsKeysReady(t *testing.T) {
	g := NewGenerator(GeneratorConfig{Ready: 2})
	defer g.Close()
	ctx := context.Background()
	seen := map[string]bool{}
	take := func() {
		p, err := g.Generate(ctx, uuid.Nil, jose.RS256, 2048)
		if err != nil {
			t.Fatal(err)
		}
		kid, err := keys.Thumbprint(p.Public())
		if err != nil || seen[kid] {
			t.Fatalf("kid %s twice, or %v", kid, err)
		}
		seen[kid] = true
	}
	take()
	g.mu.Lock()
	pool := g.pools[poolKey{kty: "RSA", bits: 2048}]
	g.mu.Unlock()
	<-pool // waits until the background has made one
	take()
	take()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pools) != 1 {
		t.Errorf("pools for %d sizes, one was asked for", len(g.pools))
	}
}

func TestGeneratorCloses(t *testing.T) {
	g := NewGenerator(GeneratorConfig{Ready: 1})
	ctx := context.Background()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := g.Generate(ctx, uuid.Nil, jose.PS256, 2048); err != nil {
				t.Error(err)
			}
		})
	}
	g.Close() // also while others ask
	wg.Wait()
	g.Close() // returns once nothing runs in the background
	p, err := g.Generate(ctx, uuid.Nil, jose.RS512, 3072)
	if err != nil || p.Public().(*rsa.PublicKey).N.BitLen() != 3072 {
		t.Errorf("after Close: %v", err)
	}
	if g.pools[poolKey{kty: "RSA", bits: 3072}] != nil {
		t.Error("a pool after Close")
	}
}

func TestGeneratorHeedsItsContext(t *testing.T) {
	g := NewGenerator(GeneratorConfig{})
	defer g.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256} {
		if _, err := g.Generate(ctx, uuid.Nil, alg, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if _, err := g.Generate(context.Background(), uuid.Nil, jose.RS256, 1024); !errors.Is(err, keys.ErrKeyMaterial) {
		t.Errorf("1024 bits: %v", err)
	}
	if _, err := g.Generate(context.Background(), uuid.Nil, "HS256", 0); !errors.Is(err, keys.ErrUnsupportedAlgorithm) {
		t.Errorf("HS256: %v", err)
	}
}
