package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// BenchmarkRequestsMeanwhile asks for a JWKS and a token every few milliseconds,
// by turns while nothing else goes on and while the same process rotates
// policies that are all due: of one tenant, whose set is in memory until its own
// turn comes, and of any.
func BenchmarkRequestsMeanwhile(b *testing.B) {
	n := size(10000)
	p := newPlatform(b)
	seed := keys.Seed{Tenants: n, Keys: 2, Events: 8, Prefix: "t"}
	if err := p.store.Seed(b.Context(), operator, seed, func(int) {}); err != nil {
		b.Fatal(err)
	}
	credential := p.key(b, tenant.PlatformAdmin)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "tenants\trequests\t| JWKS p50, p99 alone\twhile rotating\t| token p50, p99 alone\twhile rotating")
	for name, next := range map[string]func() string{
		"one": func() string { return seed.Slug(0) },
		"any": func() string { return seed.Slug(rand.IntN(n)) },
	} {
		b.Run(name, func(b *testing.B) {
			p.probe(b, credential, next, func() { time.Sleep(time.Second) })
			var alone, rotating probes
			for b.Loop() {
				p.pass(40 * 24 * time.Hour)
				for due := true; due; {
					rotating.add(p.probe(b, credential, next, func() { due = p.rotateFor(b, 2*time.Second) }))
					alone.add(p.probe(b, credential, next, func() { time.Sleep(2 * time.Second) }))
				}
			}
			b.ReportMetric(percentile(rotating.sets, 0.99).Seconds()/percentile(alone.sets, 0.99).Seconds(), "jwks-p99")
			b.ReportMetric(percentile(rotating.tokens, 0.99).Seconds()/percentile(alone.tokens, 0.99).Seconds(), "token-p99")
			fmt.Fprintf(w, "%s\t%d, %d\t| %s\t%s\t| %s\t%s\n", name, 2*len(alone.sets), 2*len(rotating.sets),
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
