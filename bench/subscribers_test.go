package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

const (
	subscribers   = 1000                  // of one tenant, as many as a tenant's share allows
	idleStreams   = 5000                  // of streamTenants tenants together
	refusalGoal   = 50 * time.Millisecond // from the answer to a revocation until 99 of 100 subscribers refuse the key
	streamTenants = 20
)

// BenchmarkSubscribers revokes keys of a tenant that many verifiers of package jwks are
// subscribed to, each with a stream of its own, while streams of other tenants are idle.
// Service and verifiers are one process. A key is refused when its event was handled.
func BenchmarkSubscribers(b *testing.B) {
	p := openPlatform(b, dbtest.New(b), newMaster(b))
	seed := moves.Seed{Tenants: 1 + streamTenants, Keys: 2, Events: 6, Prefix: "t"}
	if err := seed.Write(b.Context(), p.store, operator, func(moves.SeedProgress) {}); err != nil {
		b.Fatal(err)
	}
	admin := p.key(b, tenant.PlatformAdmin)
	var credentials []string
	for i := range seed.Tenants {
		credentials = append(credentials, p.verifierKey(b, seed.Slug(i)))
	}
	slug := seed.Slug(0)
	clients := make([]*jwks.Client, subscribers)
	for i := range clients {
		clients[i] = p.subscribe(b, slug, credentials[0])
	}
	for _, c := range clients {
		waitUntil(b, func() bool { return c.Stats().Subscribed })
	}
	before := memoryInUse()
	for i := range idleStreams {
		n := 1 + i%streamTenants
		p.openStream(b, seed.Slug(n), credentials[n])
	}
	each := (memoryInUse() - before) / idleStreams

	var refused []time.Duration
	for b.Loop() {
		for range 20 {
			refused = append(refused, p.revokeAndHear(b, slug, admin, clients)...)
		}
	}
	p99 := percentile(refused, 0.99)
	b.ReportMetric(float64(p99.Microseconds())/1000, "refused-p99-ms")
	b.ReportMetric(float64(each), "B/stream")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "subscribers\tidle streams\tB each\trefusals\trefused p50\tp99\tgoal")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%v\t%v\t%v\n", subscribers, idleStreams, each, len(refused), rounded(refused, 0.5), rounded(refused, 0.99), refusalGoal)
}

// verifierKey is a credential of a tenant's verifiers.
func (p *platform) verifierKey(b *testing.B, slug string) string {
	b.Helper()
	id, err := p.tenants.Resolve(b.Context(), slug)
	if err != nil {
		b.Fatal(err)
	}
	_, key, err := p.tenants.CreateAPIKey(b.Context(), operator, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantVerifier, Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	return key
}

func (p *platform) keyEvents(slug string) string {
	return "http://" + p.addr + "/v1/tenants/" + slug + "/key-events"
}

// openStream opens a stream that nobody reads.
func (p *platform) openStream(b *testing.B, slug, credential string) {
	b.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /v1/tenants/%s/key-events HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", slug, p.addr, credential)
	status, err := bufio.NewReaderSize(conn, 64).ReadString('\n')
	if err != nil || !strings.Contains(status, " 200 ") {
		b.Fatalf("a stream: %s, %v", status, err)
	}
}

func (p *platform) subscribe(b *testing.B, slug, credential string) *jwks.Client {
	b.Helper()
	c, err := jwks.New(jwks.Config{URL: p.jwks(slug), AllowHTTP: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	if err := c.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	go func() {
		_ = c.Subscribe(context.Background(), jwks.Push{URL: p.keyEvents(slug), Token: func(context.Context) (string, error) { return credential, nil }})
	}()
	return c
}

// revokeAndHear revokes the tenant's active key, and returns how long after the answer each
// client refused it at the latest; less than 0 if before. It ends when the clients have
// fetched the set again.
func (p *platform) revokeAndHear(b *testing.B, slug, credential string, clients []*jwks.Client) (took []time.Duration) {
	_, set := fetch(b, p.jwks(slug))
	kid, _, _ := strings.Cut(after(string(set), `"kid":"`), `"`) // the active one is the first
	fetches := make([]uint64, len(clients))
	for i, c := range clients {
		fetches[i] = c.Stats().Fetches
	}
	p.ask(b, http.MethodPost, "http://"+p.addr+"/v1/tenants/"+slug+"/keys/"+kid+"/revoke", credential, `{"reason":"compromised"}`)
	answered := time.Now()
	for _, c := range clients {
		waitUntil(b, func() bool {
			_, err := c.Key(b.Context(), kid)
			return err != nil
		})
		took = append(took, c.Stats().LastEvent.Sub(answered))
	}
	for i, c := range clients {
		waitUntil(b, func() bool { return c.Stats().Fetches > fetches[i] })
	}
	return took
}

func waitUntil(b *testing.B, done func() bool) {
	b.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.Fatal("it does not happen")
		}
	}
}

// memoryInUse is what heap and stacks take, in bytes.
func memoryInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
