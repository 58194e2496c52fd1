package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// BenchmarkRequestsMeanwhile asks for a JWKS and a token every few milliseconds,
// by turns while nothing else goes on and while the same process rotates
// policies that are all due: of one tenant, whose set is in memory until its own
// turn comes, and of any; first with everything on the same cores, then with
// PostgreSQL on one of its own, as it would be on a machine of its own.
func BenchmarkRequestsMeanwhile(b *testing.B) {
	n := size(10000)
	p := newPlatform(b)
	seed := moves.Seed{Tenants: n, Keys: 2, Events: 8, Prefix: "t"}
	if err := seed.Write(b.Context(), p.store, operator, func(moves.SeedProgress) {}); err != nil {
		b.Fatal(err)
	}
	credential := p.key(b, tenant.PlatformAdmin)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "tenants\trotations/s\trequests\t| JWKS p50, p99 alone\twhile rotating\t| token p50, p99 alone\twhile rotating")
	oneOf := func() string { return seed.Slug(0) }
	anyOf := func() string { return seed.Slug(rand.IntN(n)) }
	together := func(*testing.B) func() { return func() {} }
	for _, v := range []struct {
		name  string
		next  func() string
		place func(*testing.B) (undo func())
	}{{"one", oneOf, together}, {"any", anyOf, together}, {"one-apart", oneOf, p.apart}, {"any-apart", anyOf, p.apart}} {
		b.Run(v.name, func(b *testing.B) {
			defer v.place(b)()
			p.probe(b, credential, v.next, func() { time.Sleep(time.Second) })
			var alone, rotating probes
			var took time.Duration
			for b.Loop() {
				p.pass(b, 40*24*time.Hour)
				for due := true; due; {
					rotating.add(p.probe(b, credential, v.next, func() {
						began := time.Now()
						due = p.rotateFor(b, 2*time.Second)
						took += time.Since(began)
					}))
					alone.add(p.probe(b, credential, v.next, func() { time.Sleep(2 * time.Second) }))
				}
			}
			b.ReportMetric(percentile(rotating.sets, 0.99).Seconds()/percentile(alone.sets, 0.99).Seconds(), "jwks-p99")
			b.ReportMetric(percentile(rotating.tokens, 0.99).Seconds()/percentile(alone.tokens, 0.99).Seconds(), "token-p99")
			fmt.Fprintf(w, "%s\t%.0f\t%d, %d\t| %s\t%s\t| %s\t%s\n", v.name, float64(n*b.N)/took.Seconds(), 2*len(alone.sets), 2*len(rotating.sets),
				both(alone.sets), both(rotating.sets), both(alone.tokens), both(rotating.tokens))
		})
	}
}

func (p *probes) add(more probes) {
	p.sets, p.tokens = append(p.sets, more.sets...), append(p.tokens, more.tokens...)
}

// rotateFor lets the worker work for a while, and says whether it was busy to
// the end.
func (p *platform) rotateFor(b *testing.B, d time.Duration) bool {
	for began := time.Now(); time.Since(began) < d; {
		done, err := p.store.RunDue(b.Context(), operator, rotationPass)
		if err != nil {
			b.Fatal(err)
		}
		if done.Tenants == 0 {
			return false
		}
	}
	return true
}
