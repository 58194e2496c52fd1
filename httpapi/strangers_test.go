package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// flood sends requests at once and counts the answers by status, and how often the
// database was asked meanwhile.
func (w *world) flood(requests []*http.Request) (status map[int]int, asked int64, took time.Duration) {
	w.t.Helper()
	status = map[int]int{}
	var (
		mu    sync.Mutex
		group sync.WaitGroup
		next  = make(chan *http.Request)
	)
	before, began := w.db.Acquired(), time.Now()
	for range 16 {
		group.Go(func() {
			for r := range next {
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					w.t.Error(err)
					continue
				}
				res.Body.Close()
				mu.Lock()
				status[res.StatusCode]++
				if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
					w.t.Error("429 without Retry-After")
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range requests {
		next <- r
	}
	close(next)
	group.Wait()
	return status, w.db.Acquired() - before, time.Since(began)
}

// requests makes n GET requests.
func (w *world) requests(n int, path func(i int) string, change func(i int, r *http.Request)) []*http.Request {
	w.t.Helper()
	all := make([]*http.Request, n)
	for i := range all {
		r, err := http.NewRequestWithContext(w.t.Context(), "GET", w.url+path(i), nil)
		if err != nil {
			w.t.Fatal(err)
		}
		change(i, r)
		all[i] = r
	}
	return all
}

func guess() string {
	return "kw_" + strings.ReplaceAll(uuid.NewString(), "-", "") + "_" + strings.Repeat("a", 52)
}

// Guesses of API keys cost as many look-ups as the limit of the guesser's network
// admits, and those of many networks as many as the gate admits. A credential in use is
// answered meanwhile.
func TestGuessesAreLimitedBeforeTheyAreLookedUp(t *testing.T) {
	w := newWorldLike(t, dbtest.New(t), func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	w.do("GET", "/v1/tenants", w.root, "").ok(200)
	const guesses = 1600
	path := func(int) string { return "/v1/tenants" }
	status, asked, took := w.flood(w.requests(guesses, path, func(_ int, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+guess())
		r.Header.Set("X-Forwarded-For", "203.0.113.7")
	}))
	// One network: 20 at once and one more a second, those that were under way when the
	// limit was reached, and the few that are left to such networks.
	if most := 20 + 16 + int64(took/time.Second) + 1 + 2*suspectLookUps + int64(suspectLookUps*took.Seconds()) + 1; asked > most || status[401]+status[429] != guesses || status[429] < guesses-int(most) {
		t.Errorf("one network: %v, and the database was asked %d times, want at most %d", status, asked, most)
	}
	status, asked, took = w.flood(w.requests(guesses, path, func(i int, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+guess())
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.1", i/250, i%250))
	}))
	if most := 2*tenant.ColdReads + int64(tenant.ColdReads*took.Seconds()) + 1; asked > most || status[401]+status[429] != guesses {
		t.Errorf("%d networks: %v, and the database was asked %d times in %v, want at most %d", guesses, status, asked, took, most)
	}
	w.do("GET", "/v1/tenants", w.root, "", "X-Forwarded-For", "203.0.113.7").ok(200)
}

// The same wrong key, sent again and again, is looked up once in a while.
func TestRepeatedWrongKeyIsLookedUpOnce(t *testing.T) {
	w := newWorld(t)
	key := guess()
	status, asked, took := w.flood(w.requests(15, func(int) string { return "/v1/tenants" }, func(_ int, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+key)
	}))
	if most := 1 + int64(took/(5*time.Second)); asked > most || status[401] != 15 {
		t.Errorf("%v, and the database was asked %d times, want %d", status, asked, most)
	}
}

// Names that nobody has, of tenants and of hosts, cost as many look-ups as the gate
// admits, whoever asks. A tenant in memory is served meanwhile.
func TestUnknownNamesAreLookedUpSeldom(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const jwks = "/t/acme/.well-known/jwks.json"
	w.do("GET", jwks, "", "").ok(200)
	w.do("GET", "/.well-known/jwks.json", "", "").ok(200)
	for name, all := range map[string][]*http.Request{
		"slugs": w.requests(1600, func(i int) string { return fmt.Sprintf("/t/nobody-%d/.well-known/jwks.json", i) }, func(int, *http.Request) {}),
		"ids":   w.requests(1600, func(int) string { return "/t/" + uuid.NewString() + "/.well-known/jwks.json" }, func(int, *http.Request) {}),
		"hosts": w.requests(1600, func(int) string { return "/.well-known/jwks.json" }, func(i int, r *http.Request) { r.Host = fmt.Sprintf("h%d.example", i) }),
	} {
		status, asked, took := w.flood(all)
		// What is not found is looked for again with an explicit role.
		if most := 2 * (2*snapshot.UnknownLoads + int64(snapshot.UnknownLoads*took.Seconds()) + 1); asked > most || status[404]+status[200]+status[429] != len(all) {
			t.Errorf("%s: %v, and the database was asked %d times in %v, want at most %d", name, status, asked, took, most)
		}
		w.do("GET", jwks, "", "").ok(200)
	}
}
