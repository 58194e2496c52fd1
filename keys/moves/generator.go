package moves

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/keys"
)

// GeneratorConfig configures a [Generator]. The zero value is valid.
type GeneratorConfig struct {
	Ready int // keys kept ready of each kind; 0: 4

	// Parallel is how many RSA keys are generated at a time while callers wait, of
	// which one tenant gets at most half; 0: the number of CPUs, and at least 2.
	Parallel int
	// One tenant gets Burst RSA keys at once, and one more after each Every: see
	// [Generator.Wait]. 0: without a limit.
	Every time.Duration
	Burst int
}

// Generator generates keys, and keeps a few of each expected kind ready, generated in
// the background. RSA keys, which take long, are kept ready in each size that was
// requested before, and generated one at a time. The caller must Close it.
type Generator struct {
	ready   int
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	rsaSlot chan struct{} // held while an RSA key is generated in the background
	slots   *slots        // of RSA keys that callers wait for
	usage   *usage        // of RSA keys

	mu    sync.Mutex // guards pools and, against Close, wg.Add
	pools map[poolKey]chan keys.Private

	// onKey is called with every key that is returned. Only tests of this package
	// set it, to search the program's output for the key.
	onKey func(keys.Private, error)
	// onWait is called for every key that is generated while a caller waits. Only
	// tests set it.
	onWait func()
}

// poolKey identifies a pool of ready keys. Algorithms that use the same keys share one.
type poolKey struct {
	kty  string
	alg  jose.SignatureAlgorithm // the first that uses these keys; empty for RSA
	bits int                     // of RSA keys
}

func poolKeyOf(alg jose.SignatureAlgorithm, rsaBits int) (poolKey, error) {
	alg, err := keys.ParseAlgorithm(string(alg))
	kty := keys.KeyType(alg)
	switch {
	case err != nil:
		return poolKey{}, err
	case kty == "RSA":
		bits, err := keys.RSASize(rsaBits)
		return poolKey{kty: kty, bits: bits}, err
	}
	algs := keys.Algorithms()
	first := slices.IndexFunc(algs, func(other jose.SignatureAlgorithm) bool { return keys.SharesKeys(alg, other) })
	return poolKey{kty: kty, alg: algs[first]}, nil
}

// NewGenerator returns a generator; it runs nothing until a key is expected.
func NewGenerator(cfg GeneratorConfig) *Generator {
	if cfg.Ready == 0 {
		cfg.Ready = 4
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = max(2, runtime.GOMAXPROCS(0))
	}
	done, stop := context.WithCancel(context.Background())
	return &Generator{
		ready: cfg.Ready, ctx: done, cancel: stop,
		rsaSlot: make(chan struct{}, 1), pools: map[poolKey]chan keys.Private{},
		slots: newSlots(cfg.Parallel), usage: newUsage(cfg.Every, cfg.Burst),
	}
}

// Wait returns how long a tenant has to wait until it may have n more keys for an
// algorithm; 0 for keys that cost little.
func (g *Generator) Wait(tenantID uuid.UUID, alg jose.SignatureAlgorithm, n int) time.Duration {
	if keys.KeyType(alg) != "RSA" || g.usage.every == 0 {
		return 0
	}
	return g.usage.wait(tenantID, n, time.Now())
}

// Close stops the background work and returns when it has ended, which can take as long
// as generating one RSA key. Generate still works afterwards, but no keys are kept
// ready.
func (g *Generator) Close() {
	g.mu.Lock()
	g.cancel()
	g.mu.Unlock()
	g.wg.Wait()
}

// Generate returns a ready key if there is one, and otherwise calls [keys.Generate], for
// an RSA key in the tenant's turn; uuid.Nil stands for tenants that do not exist yet. It
// checks ctx before it generates a key; the generation itself cannot be cancelled.
func (g *Generator) Generate(ctx context.Context, tenantID uuid.UUID, alg jose.SignatureAlgorithm, rsaBits int) (key keys.Private, err error) {
	if g.onKey != nil {
		defer func() { g.onKey(key, err) }()
	}
	if err := ctx.Err(); err != nil {
		return keys.Private{}, err
	}
	if keys.KeyType(alg) != "RSA" {
		return g.generate(alg, rsaBits)
	}
	kind, err := poolKeyOf(alg, rsaBits)
	if err != nil {
		return keys.Private{}, err
	}
	if key, ready := g.takeReady(tenantID, kind); ready {
		return key.WithAlgorithm(alg)
	}
	leave, err := g.slots.enter(ctx, tenantID)
	if err != nil {
		return keys.Private{}, err
	}
	defer leave()
	g.usage.note(tenantID, time.Now())
	return g.generate(alg, kind.bits)
}

// takeReady returns a key that was generated ahead. Of RSA keys a tenant that has had
// many lately leaves the last half to others.
func (g *Generator) takeReady(tenantID uuid.UUID, kind poolKey) (key keys.Private, ready bool) {
	pool, rsa := g.poolOf(kind), kind.kty == "RSA"
	if rsa && g.usage.frequent(tenantID, time.Now()) && len(pool) <= cap(pool)/2 {
		return keys.Private{}, false
	}
	select {
	case key = <-pool:
		if rsa {
			g.usage.note(tenantID, time.Now())
		}
		return key, true
	default:
		return keys.Private{}, false
	}
}

func (g *Generator) generate(alg jose.SignatureAlgorithm, rsaBits int) (keys.Private, error) {
	if g.onWait != nil {
		g.onWait()
	}
	return keys.Generate(alg, rsaBits)
}

// Expect announces requests for keys of this kind, so that a few are generated ahead. An
// invalid algorithm or size is ignored.
func (g *Generator) Expect(alg jose.SignatureAlgorithm, rsaBits int) {
	if kind, err := poolKeyOf(alg, rsaBits); err == nil {
		g.poolOf(kind)
	}
}

// Ready returns a key that was generated ahead; false if there is none. It never
// generates one.
func (g *Generator) Ready(tenantID uuid.UUID, alg jose.SignatureAlgorithm, rsaBits int) (key keys.Private, ready bool) {
	kind, err := poolKeyOf(alg, rsaBits)
	if err != nil {
		return keys.Private{}, false
	}
	if key, ready = g.takeReady(tenantID, kind); !ready {
		return keys.Private{}, false
	}
	key, err = key.WithAlgorithm(alg)
	if g.onKey != nil {
		g.onKey(key, err)
	}
	return key, err == nil
}

// poolOf returns the pool of a kind. The first call starts filling it.
func (g *Generator) poolOf(kind poolKey) <-chan keys.Private {
	g.mu.Lock()
	defer g.mu.Unlock()
	pool, ok := g.pools[kind]
	if !ok && g.ctx.Err() == nil {
		pool = make(chan keys.Private, g.ready)
		g.pools[kind] = pool
		g.wg.Go(func() { g.fillPool(pool, kind) })
	}
	return pool
}

// fillPool keeps the pool full; it always holds one finished key more, blocked on the
// channel.
func (g *Generator) fillPool(pool chan<- keys.Private, kind poolKey) {
	for {
		key, err := g.generateInTurn(kind)
		if err != nil {
			return
		}
		select {
		case pool <- key:
		case <-g.ctx.Done():
			return
		}
	}
}

// generateInTurn generates a key; an RSA key only while no other pool generates one.
func (g *Generator) generateInTurn(kind poolKey) (keys.Private, error) {
	if kind.kty == "RSA" {
		select {
		case g.rsaSlot <- struct{}{}:
			defer func() { <-g.rsaSlot }()
		case <-g.ctx.Done():
		}
	}
	if err := g.ctx.Err(); err != nil {
		return keys.Private{}, err
	}
	return keys.Generate(cmp.Or(kind.alg, jose.RS256), kind.bits)
}
