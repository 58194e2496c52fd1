package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
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
	Ready int // keys kept ready of each kind; 0: 4
}

// Generator makes keys, and keeps a few ready of each kind that is expected,
// made in the background. RSA keys, which take long, are expected of each size
// that was asked for before, and are made one at a time. A generator lives until
// Close.
type Generator struct {
	ready int
	done  context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
	busy  chan struct{} // held while an RSA key is made in the background

	mu    sync.Mutex // guards pools and, against Close, wg.Add
	pools map[stock]chan crypto.Signer

	// learn hears of every key that is handed out. It is nil but in tests of this
	// package, which look for the key in all that they made the program show.
	learn func(Private, error)
	// waited hears of every key that is made while somebody waits for it; nil but
	// in tests.
	waited func()
}

// stock is a kind of keys that are kept ready. Algorithms that differ in how
// they sign alone share one.
type stock struct {
	kty   string
	curve elliptic.Curve // of EC keys
	bits  int            // of RSA keys
}

func stockOf(alg jose.SignatureAlgorithm, rsaBits int) (stock, error) {
	a, err := lookup(alg)
	if err != nil || a.kty != "RSA" {
		return stock{kty: a.kty, curve: a.curve}, err
	}
	bits, err := rsaSize(rsaBits)
	return stock{kty: a.kty, bits: bits}, err
}

// NewGenerator makes a generator; nothing runs until a key is expected.
func NewGenerator(cfg GeneratorConfig) *Generator {
	if cfg.Ready == 0 {
		cfg.Ready = 4
	}
	done, stop := context.WithCancel(context.Background())
	return &Generator{
		ready: cfg.Ready, done: done, stop: stop,
		busy: make(chan struct{}, 1), pools: map[stock]chan crypto.Signer{},
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
		return g.now(alg, rsaBits)
	}
	kind, err := stockOf(alg, rsaBits)
	if err != nil {
		return Private{}, err
	}
	select {
	case key := <-g.pool(kind):
		return NewPrivate(alg, key)
	default:
		return g.now(alg, kind.bits)
	}
}

func (g *Generator) now(alg jose.SignatureAlgorithm, rsaBits int) (Private, error) {
	if g.waited != nil {
		g.waited()
	}
	return Generate(alg, rsaBits)
}

// Expect says that keys of this kind will be asked for: a few are made ahead.
// An algorithm that there is none of, or a size, is ignored.
func (g *Generator) Expect(alg jose.SignatureAlgorithm, rsaBits int) {
	if kind, err := stockOf(alg, rsaBits); err == nil {
		g.pool(kind)
	}
}

// Ready takes a key that was made ahead; false if there is none just now. It
// never makes one.
func (g *Generator) Ready(alg jose.SignatureAlgorithm, rsaBits int) (made Private, ready bool) {
	kind, err := stockOf(alg, rsaBits)
	if err != nil {
		return Private{}, false
	}
	select {
	case key := <-g.pool(kind):
		made, err = NewPrivate(alg, key)
		if g.learn != nil {
			g.learn(made, err)
		}
		return made, err == nil
	default:
		return Private{}, false
	}
}

// pool returns the ready keys of a kind. The first one to ask starts filling it.
func (g *Generator) pool(kind stock) <-chan crypto.Signer {
	g.mu.Lock()
	defer g.mu.Unlock()
	pool, ok := g.pools[kind]
	if !ok && g.done.Err() == nil {
		pool = make(chan crypto.Signer, g.ready)
		g.pools[kind] = pool
		g.wg.Go(func() { g.fill(pool, kind) })
	}
	return pool
}

// fill keeps a pool full. One more key waits in hand for a place.
func (g *Generator) fill(pool chan<- crypto.Signer, kind stock) {
	for {
		key, err := g.inTurn(kind)
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

// inTurn makes a key; one of RSA while no other pool does.
func (g *Generator) inTurn(kind stock) (crypto.Signer, error) {
	a := algorithm{kty: kind.kty, curve: kind.curve}
	if kind.kty == "RSA" {
		select {
		case g.busy <- struct{}{}:
			defer func() { <-g.busy }()
		case <-g.done.Done():
		}
	}
	if err := g.done.Err(); err != nil {
		return nil, err
	}
	return a.generate(kind.bits)
}
