package bench

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// revocationGoal is the most that 99 of 100 revocations may take, from the
// answer to who revokes until another replica's JWKS is without the key.
const revocationGoal = 50 * time.Millisecond

// BenchmarkRevocation revokes keys through one replica and asks another for the
// JWKS until the key is gone from it: with few tenants, and with many in the
// memory of both. The time begins with the answer to who revokes.
func BenchmarkRevocation(b *testing.B) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "tenants in memory\trevocations\tanswer p50\tp99\tvisible elsewhere p50\tp99\tgoal")
	for _, n := range []int{10, size(5000)} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			uri := newMaster(b)
			here := openPlatform(b, dbtest.New(b), uri)
			seed := moves.Seed{Tenants: n, Keys: 4, Events: 12, Prefix: "t"}
			if err := seed.Write(b.Context(), here.store, operator, func(moves.SeedProgress) {}); err != nil {
				b.Fatal(err)
			}
			there := openPlatform(b, here.dsn, uri)
			for i := range n {
				fetch(b, here.jwks(seed.Slug(i)))
				fetch(b, there.jwks(seed.Slug(i)))
			}
			credential := here.key(b, tenant.PlatformAdmin)
			var answered, visible []time.Duration
			for i := 0; b.Loop(); {
				for range 200 {
					a, v := revokeAndWatch(b, here, there, credential, seed.Slug(i%n))
					answered, visible = append(answered, a), append(visible, v)
					i++
				}
			}
			p99 := percentile(visible, 0.99)
			b.ReportMetric(float64(p99.Microseconds())/1000, "visible-p99-ms")
			fmt.Fprintf(w, "%d\t%d\t%v\t%v\t%v\t%v\t%v\n", n, len(visible), rounded(answered, 0.5), rounded(answered, 0.99),
				rounded(visible, 0.5), rounded(visible, 0.99), revocationGoal)
		})
	}
}

func (p *platform) jwks(slug string) string {
	return "http://" + p.addr + "/t/" + slug + "/.well-known/jwks.json"
}

// revokeAndWatch revokes a tenant's active key. It returns how long the answer
// took, and how much longer the other replica served the key.
func revokeAndWatch(b *testing.B, here, there *platform, credential, slug string) (answered, visible time.Duration) {
	_, set := fetch(b, there.jwks(slug))
	kid, _, _ := strings.Cut(after(string(set), `"kid":"`), `"`) // the active one is the first
	url := "http://" + here.addr + "/v1/tenants/" + slug + "/keys/" + kid + "/revoke"
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(`{"reason":"compromised"}`))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+credential)
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b.Fatal(url, ": ", res.Status)
	}
	done := time.Now()
	for bytes.Contains(set, []byte(kid)) {
		_, set = fetch(b, there.jwks(slug))
	}
	return done.Sub(began), time.Since(done)
}

func after(text, mark string) string {
	_, rest, _ := strings.Cut(text, mark)
	return rest
}

func rounded(all []time.Duration, p float64) time.Duration {
	return percentile(all, p).Round(10 * time.Microsecond)
}
