package bench

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks/jwkstest"
)

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256}

// goal is the most that verifying a token may cost beside bare cryptography.
var goal = map[jose.SignatureAlgorithm]float64{jose.ES256: 1.08, jose.EdDSA: 1.08, jose.RS256: 1.15}

// token is one as services get them.
func token(issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm) string {
	kid := fmt.Sprint(slices.Index(algorithms, alg) + 1)
	return issuer.Token(kid, jwkstest.Claims{
		"sub": "0f9b6c52-6c0b-4a0e-9d2c-3d1f8f1f6a11", "aud": audience, "jti": "0191f7a3-7c7e-7d54-8f3b-0d2f3c1a9b10",
		"client_id": "web", "scope": "orders:read orders:write", "email": "someone@example.com", "roles": []string{"admin", "buyer"},
	})
}

// opened are the ways to verify tokens of one algorithm, bare cryptography
// first. Each has verified the token once.
func opened(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm, raw string) (names []string, checks []check) {
	names, checks = []string{"bare crypto"}, []check{bare(tb, issuer, alg, raw)}
	for _, p := range peers {
		names, checks = append(names, p.name), append(checks, p.open(tb, issuer, alg))
	}
	for i, verify := range checks {
		if err := verify(tb.Context(), raw); err != nil {
			tb.Fatalf("%s, %s: %v", names[i], alg, err)
		}
	}
	return names, checks
}

// BenchmarkRatios takes turns between all, so that whatever else the machine
// does hits all alike, and prints the quickest turns beside the goal.
func BenchmarkRatios(b *testing.B) {
	issuer := serve(b, algorithms...)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "algorithm\tverified by\tns\tof bare\tgoal")
	for _, alg := range algorithms {
		raw := token(issuer, alg)
		names, checks := opened(b, issuer, alg, raw)
		quickest := quickest(b, checks, raw)
		for i, name := range names {
			ratio, wanted := float64(quickest[i])/float64(quickest[0]), ""
			if name == "jwks" {
				wanted = fmt.Sprintf("%.2f", goal[alg])
				b.ReportMetric(ratio, string(alg)+"-of-bare")
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%.3f\t%s\n", alg, name, quickest[i].Nanoseconds(), ratio, wanted)
		}
	}
}

// No peer allocates as little as jwks does.
func TestFewestAllocations(t *testing.T) {
	issuer := serve(t, algorithms...)
	for _, alg := range algorithms {
		raw := token(issuer, alg)
		names, checks := opened(t, issuer, alg, raw)
		allocations := func(i int) float64 {
			return testing.AllocsPerRun(100, func() { _ = checks[i](t.Context(), raw) })
		}
		ours := slices.Index(names, "jwks")
		for i, name := range names[ours+1:] {
			if theirs := allocations(ours + 1 + i); theirs <= allocations(ours) {
				t.Errorf("%s: %s allocates %.0f times, jwks %.0f", alg, name, theirs, allocations(ours))
			}
		}
	}
}

// quickest is the least time each check took for one token, over many turns.
func quickest(tb testing.TB, checks []check, raw string) []time.Duration {
	const turns, batch = 1000, 5
	best := slices.Repeat([]time.Duration{time.Hour}, len(checks))
	for range turns {
		for i, verify := range checks {
			start := time.Now()
			for range batch {
				if err := verify(tb.Context(), raw); err != nil {
					tb.Fatal(err)
				}
			}
			best[i] = min(best[i], time.Since(start)/batch)
		}
	}
	return best
}

func BenchmarkVerify(b *testing.B) {
	issuer := serve(b, algorithms...)
	for _, alg := range algorithms {
		raw := token(issuer, alg)
		names, checks := opened(b, issuer, alg, raw)
		for i, name := range names {
			b.Run(string(alg)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := checks[i](b.Context(), raw); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
