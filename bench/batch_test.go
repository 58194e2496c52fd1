package bench

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyward/keyward/tenant"
)

// batchSize is the most that one request may ask for.
const batchSize = 1000

// BenchmarkBatch compares tokens that are asked for a thousand at a time, by one
// client over HTTP, with bare ES256 signatures on all cores. They take turns; the
// client's own work is in the platform's turn, and on the same cores.
func BenchmarkBatch(b *testing.B) {
	p := newPlatform(b)
	spec := tenant.Spec{Slug: "t0", Caching: tenant.DefaultCaching, Policies: []tenant.Policy{tenant.DefaultPolicy("ES256")}}
	if _, err := p.store.CreateTenant(b.Context(), operator, spec); err != nil {
		b.Fatal(err)
	}
	body := `{"tokens":[` + strings.TrimSuffix(strings.Repeat(`{"claims":`+claims+`},`, batchSize), ",") + `]}`
	credential := p.key(b, tenant.PlatformAdmin)
	var answer bytes.Buffer
	ask := func() { askBatch(b, p.addr, credential, body, &answer) }
	key := bareKey(b, "ES256").(*ecdsa.PrivateKey)
	ask()
	var ratios, work []float64
	for i := 0; b.Loop(); i++ {
		var us, them turn
		if i%2 == 0 {
			us, them = timed(ask), timed(func() { signBare(key, batchSize) })
		} else {
			them, us = timed(func() { signBare(key, batchSize) }), timed(ask)
		}
		if n := bytes.Count(answer.Bytes(), []byte(`"token":"`)); n != batchSize {
			b.Fatal("tokens: ", n)
		}
		ratios, work = append(ratios, them.took.Seconds()/us.took.Seconds()), append(work, them.work.Seconds()/us.work.Seconds())
	}
	b.ReportMetric(median(ratios), "of-bare")
	b.ReportMetric(median(work), "cpu-of-bare")
}

func timed(do func()) turn {
	began, before := time.Now(), worked()
	do()
	return turn{took: time.Since(began), work: worked() - before}
}

// askBatch asks for a batch. The answer goes where the last one was: to find room
// for it is not what is measured.
func askBatch(b *testing.B, addr, credential, body string, answer *bytes.Buffer) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+addr+"/v1/tenants/t0/tokens/batch", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+credential)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	answer.Reset()
	if _, err = answer.ReadFrom(res.Body); err != nil || res.StatusCode != http.StatusOK {
		b.Fatal(res.Status, err)
	}
}

// signBare signs n digests on all cores.
func signBare(key *ecdsa.PrivateKey, n int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				digest := sha256.Sum256(strconv.AppendInt(nil, i, 10))
				_, _ = key.Sign(rand.Reader, digest[:], crypto.SHA256) // a fresh key always signs
			}
		})
	}
	wg.Wait()
}
