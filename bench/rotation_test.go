package bench

import (
	"crypto/rand"
	"crypto/rsa"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// size is how many tenants a benchmark has: KEYWARD_BENCH_TENANTS, or few.
func size(few int) int {
	if n, err := strconv.Atoi(os.Getenv("KEYWARD_BENCH_TENANTS")); err == nil && n > 0 {
		return n
	}
	return few
}

// BenchmarkRotation lets the worker rotate ES256 policies that are all due at
// once, and after every pass lets PostgreSQL write the same rows again, in other
// tables, as each of the yardsticks says.
func BenchmarkRotation(b *testing.B) {
	n := size(5000)
	p := newPlatform(b)
	seed := moves.Seed{Tenants: n, Keys: 2, Events: 8, Prefix: "t"}
	if err := seed.Write(b.Context(), p.store, operator, func(moves.SeedProgress) {}); err != nil {
		b.Fatal(err)
	}
	yardsticks := []*yardstick{
		newYardstick(b, p.dsn, "bare", 1, false),
		newYardstick(b, p.dsn, "bare_parallel", rotationLanes, false),
		newYardstick(b, p.dsn, "declared", 1, true),
	}
	var ours time.Duration
	var rotated int
	for b.Loop() {
		for _, y := range yardsticks {
			y.copy(b)
		}
		p.pass(b, 40*24*time.Hour)
		for {
			began := time.Now()
			done, err := p.store.RunDue(b.Context(), operator, rotationPass)
			if err != nil {
				b.Fatal(err)
			}
			if done.Tenants == 0 {
				break
			}
			ours += time.Since(began)
			rotated += done.Rotated
			for _, y := range yardsticks {
				y.write(b)
			}
		}
	}
	b.ReportMetric(float64(rotated)/ours.Seconds(), "rotations/s")
	for _, y := range yardsticks {
		b.ReportMetric(y.took.Seconds()/ours.Seconds(), "of-"+y.schema)
	}
}

// As keyward serve has them: policies of a pass, and transactions at a time.
const (
	rotationPass  = 1000
	rotationLanes = 2
)

// BenchmarkRSARotation does the same with RSA keys of 2048 bits, beside as many
// bare key generations on all cores.
func BenchmarkRSARotation(b *testing.B) {
	const n = 64
	p := newPlatform(b)
	for i := range n {
		spec := tenant.Spec{Slug: "r" + strconv.Itoa(i), Caching: tenant.DefaultCaching, Policies: []tenant.Policy{tenant.DefaultPolicy("RS256")}}
		if _, err := p.store.CreateTenant(b.Context(), operator, spec); err != nil {
			b.Fatal(err)
		}
	}
	p.generator.Close() // keys that were made before the clock ran would be a present
	var ours, bare time.Duration
	for b.Loop() {
		p.pass(b, 40*24*time.Hour)
		began, rotated := time.Now(), 0
		for done := (moves.Done{Tenants: 1}); done.Tenants > 0; rotated += done.Rotated {
			var err error
			if done, err = p.store.RunDue(b.Context(), operator, rotationPass); err != nil {
				b.Fatal(err)
			}
		}
		ours += time.Since(began)
		bare += generate2048(b, rotated)
	}
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "of-bare")
}

// generate2048 makes n keys on all cores.
func generate2048(b *testing.B, n int) time.Duration {
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	began := time.Now()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for range work {
				if _, err := rsa.GenerateKey(rand.Reader, 2048); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}
