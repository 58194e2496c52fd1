package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// RSASizes lists the sizes of RSA keys that are generated, in bits.
func RSASizes() []int { return []int{2048, 3072, 4096} }

// Generate makes a key. rsaBits is one of [RSASizes] for RSA, where 0 means
// 2048, and ignored for other keys. A big RSA key takes seconds; see
// [Generator]. Errors: [ErrUnsupportedAlgorithm], [ErrKeyMaterial].
func Generate(alg jose.SignatureAlgorithm, rsaBits int) (Private, error) {
	a, err := lookup(alg)
	if err != nil {
		return Private{}, err
	}
	key, err := a.generate(rsaBits)
	if err != nil {
		return Private{}, err
	}
	return NewPrivate(alg, key)
}

func (a algorithm) generate(rsaBits int) (crypto.Signer, error) {
	switch a.kty {
	case "EC":
		return ecdsa.GenerateKey(a.curve, rand.Reader)
	case "OKP":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	bits, err := rsaSize(rsaBits)
	if err != nil {
		return nil, err
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

func rsaSize(bits int) (int, error) {
	if bits == 0 {
		return MinRSABits, nil
	}
	for _, size := range RSASizes() {
		if bits == size {
			return bits, nil
		}
	}
	return 0, fmt.Errorf("%w: no RSA keys of %d bits, it is one of %v", ErrKeyMaterial, bits, RSASizes())
}

// GeneratorConfig says how a [Generator] works. The zero value is fine.
type GeneratorConfig struct {
	Ready int // RSA keys kept ready of each size that was asked for; 0: 4
}

// Generator makes keys and keeps a few RSA keys ready of each size that was
// asked for before, made in the background one at a time. A generator lives
// until Close.
type Generator struct {
	ready int
	done  context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
	busy  chan struct{} // held while a key is made in the background

	mu    sync.Mutex // guards pools and, against Close, wg.Add
	pools map[int]chan *rsa.PrivateKey

	// learn hears of every key that is handed out. It is nil but in tests of this
	// package, which look for the key in all that they made the program show.
	learn func(Private, error)
}

// NewGenerator makes a generator; nothing runs until an RSA key is asked for.
func NewGenerator(cfg GeneratorConfig) *Generator {
	if cfg.Ready == 0 {
		cfg.Ready = 4
	}
	done, stop := context.WithCancel(context.Background())
	return &Generator{
		ready: cfg.Ready, done: done, stop: stop,
		busy: make(chan struct{}, 1), pools: map[int]chan *rsa.PrivateKey{},
	}
}

// Close stops the background work and returns when it has ended, which can
// take as long as one RSA key does. Keys are still made after it, none ahead.
func (g *Generator) Close() {
	g.mu.Lock()
	g.stop()
	g.mu.Unlock()
	g.wg.Wait()
}

// Generate is [Generate] with a ready key if there is one. ctx is looked at
// before a key is made; the making itself cannot be stopped.
func (g *Generator) Generate(ctx context.Context, alg jose.SignatureAlgorithm, rsaBits int) (made Private, err error) {
	if g.learn != nil {
		defer func() { g.learn(made, err) }()
	}
	if err := ctx.Err(); err != nil {
		return Private{}, err
	}
	if KeyType(alg) != "RSA" {
		return Generate(alg, rsaBits)
	}
	bits, err := rsaSize(rsaBits)
	if err != nil {
		return Private{}, err
	}
	select {
	case key := <-g.pool(bits):
		return NewPrivate(alg, key)
	default:
		return Generate(alg, bits)
	}
}

// pool returns the ready keys of a size. The first one to ask starts filling it.
func (g *Generator) pool(bits int) <-chan *rsa.PrivateKey {
	g.mu.Lock()
	defer g.mu.Unlock()
	pool, ok := g.pools[bits]
	if !ok && g.done.Err() == nil {
		pool = make(chan *rsa.PrivateKey, g.ready)
		g.pools[bits] = pool
		g.wg.Go(func() { g.fill(pool, bits) })
	}
	return pool
}

// fill keeps a pool full. One more key waits in hand for a place.
func (g *Generator) fill(pool chan<- *rsa.PrivateKey, bits int) {
	for {
		key, err := g.inTurn(bits)
		if err != nil {
			return
		}
		select {
		case pool <- key:
		case <-g.done.Done():
			return
		}
	}
}

// inTurn makes a key while no other pool does.
func (g *Generator) inTurn(bits int) (*rsa.PrivateKey, error) {
	select {
	case g.busy <- struct{}{}:
		defer func() { <-g.busy }()
	case <-g.done.Done():
	}
	if err := g.done.Err(); err != nil {
		return nil, err
	}
	return rsa.GenerateKey(rand.Reader, bits)
}
