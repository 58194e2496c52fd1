package moves

import (
	"context"
	"crypto/elliptic"
	"slices"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/keys"
)

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
	pools map[stock]chan keys.Private

	// learn hears of every key that is handed out. It is nil but in tests of this
	// package, which look for the key in all that they made the program show.
	learn func(keys.Private, error)
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
	alg, err := keys.ParseAlgorithm(string(alg))
	kty := keys.KeyType(alg)
	if err != nil || kty != "RSA" {
		return stock{kty: kty, curve: keys.Curve(alg)}, err
	}
	bits, err := keys.RSASize(rsaBits)
	return stock{kty: kty, bits: bits}, err
}

// alg is one of the algorithms that the keys are for.
func (k stock) alg() jose.SignatureAlgorithm {
	algs := keys.Algorithms()
	return algs[slices.IndexFunc(algs, func(alg jose.SignatureAlgorithm) bool {
		return keys.KeyType(alg) == k.kty && keys.Curve(alg) == k.curve
	})]
}

// NewGenerator makes a generator; nothing runs until a key is expected.
func NewGenerator(cfg GeneratorConfig) *Generator {
	if cfg.Ready == 0 {
		cfg.Ready = 4
	}
	done, stop := context.WithCancel(context.Background())
	return &Generator{
		ready: cfg.Ready, done: done, stop: stop,
		busy: make(chan struct{}, 1), pools: map[stock]chan keys.Private{},
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

// Generate is [keys.Generate] with a ready key if there is one. ctx is looked at
// before a key is made; the making itself cannot be stopped.
func (g *Generator) Generate(ctx context.Context, alg jose.SignatureAlgorithm, rsaBits int) (made keys.Private, err error) {
	if g.learn != nil {
		defer func() { g.learn(made, err) }()
	}
	if err := ctx.Err(); err != nil {
		return keys.Private{}, err
	}
	if keys.KeyType(alg) != "RSA" {
		return g.now(alg, rsaBits)
	}
	kind, err := stockOf(alg, rsaBits)
	if err != nil {
		return keys.Private{}, err
	}
	select {
	case key := <-g.pool(kind):
		return key.WithAlgorithm(alg)
	default:
		return g.now(alg, kind.bits)
	}
}

func (g *Generator) now(alg jose.SignatureAlgorithm, rsaBits int) (keys.Private, error) {
	if g.waited != nil {
		g.waited()
	}
	return keys.Generate(alg, rsaBits)
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
func (g *Generator) Ready(alg jose.SignatureAlgorithm, rsaBits int) (made keys.Private, ready bool) {
	kind, err := stockOf(alg, rsaBits)
	if err != nil {
		return keys.Private{}, false
	}
	select {
	case key := <-g.pool(kind):
		made, err = key.WithAlgorithm(alg)
		if g.learn != nil {
			g.learn(made, err)
		}
		return made, err == nil
	default:
		return keys.Private{}, false
	}
}

// pool returns the ready keys of a kind. The first one to ask starts filling it.
func (g *Generator) pool(kind stock) <-chan keys.Private {
	g.mu.Lock()
	defer g.mu.Unlock()
	pool, ok := g.pools[kind]
	if !ok && g.done.Err() == nil {
		pool = make(chan keys.Private, g.ready)
		g.pools[kind] = pool
		g.wg.Go(func() { g.fill(pool, kind) })
	}
	return pool
}

// fill keeps a pool full. One more key waits in hand for a place.
func (g *Generator) fill(pool chan<- keys.Private, kind stock) {
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
func (g *Generator) inTurn(kind stock) (keys.Private, error) {
	if kind.kty == "RSA" {
		select {
		case g.busy <- struct{}{}:
			defer func() { <-g.busy }()
		case <-g.done.Done():
		}
	}
	if err := g.done.Err(); err != nil {
		return keys.Private{}, err
	}
	return keys.Generate(kind.alg(), kind.bits)
}
