package adoption

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

var t0 = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// counting returns a counter without a database, and its clock.
func counting() (*Counter, *time.Time) {
	now := t0
	return New(Config{Authority: tenant.NewAuthority(make([]byte, 32), slog.New(slog.DiscardHandler)), Now: func() time.Time { return now }}), &now
}

func address(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a000000+uint32(i))
	return netip.AddrFrom4(b)
}

// A request of a verifier that is known allocates nothing.
func TestObservingAllocatesNothing(t *testing.T) {
	c, _ := counting()
	id := uuid.New()
	agent := fmt.Sprintf("agent/%d", rand.Int())
	c.Observe(id, t0, address(1), agent, NoValidator)
	if n := testing.AllocsPerRun(1000, func() { c.Observe(id, t0, address(1), agent, Current) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// However many verifiers there are or pretend to be, memory is bounded: by tenant and
// in all. One tenant's flood takes no room from another one.
func TestMemoryIsBounded(t *testing.T) {
	c, _ := counting()
	flooded, quiet := uuid.New(), uuid.New()
	c.Observe(quiet, t0, address(1), "a", NoValidator)
	for i := range 20_000 {
		c.Observe(flooded, t0, address(i), fmt.Sprint("agent ", i), NoValidator)
	}
	if kept, _ := c.Stats(); kept != Sample+1 {
		t.Errorf("%d verifiers kept", kept)
	}
	for i := range maxClients / 100 {
		id := uuid.New()
		for j := range 101 {
			c.Observe(id, t0, address(i*101+j), "a", NoValidator)
		}
	}
	if kept, dropped := c.Stats(); kept != maxClients || dropped == 0 {
		t.Errorf("%d kept, %d dropped", kept, dropped)
	}
	for _, r := range c.changed(t0.UnixMicro(), maxClients) {
		c.written(r)
	}
	if again := c.changed(t0.UnixMicro(), maxClients); len(again) != 0 {
		t.Errorf("%d are written twice", len(again))
	}
	c.changed(t0.Add(idleAfter+time.Second).UnixMicro(), maxClients)
	if kept, _ := c.Stats(); kept != 0 {
		t.Errorf("%d idle verifiers kept", kept)
	}
}

// The sample of several processes together is the sample of one that saw all, and it
// tells how many there are within a quarter.
func TestSamplesMerge(t *testing.T) {
	const all = 5000
	one, _ := counting()
	a, _ := counting()
	b, _ := counting()
	id := uuid.New()
	for i := range all {
		for _, c := range []*Counter{one, []*Counter{a, b}[i%2]} {
			c.Observe(id, t0, address(i), "agent", NoValidator)
		}
	}
	merged := map[int64]bool{}
	for _, c := range []*Counter{a, b} {
		for _, r := range c.changed(t0.UnixMicro(), maxClients) {
			merged[r.name] = true
		}
	}
	largest := int64(0)
	for _, r := range one.changed(t0.UnixMicro(), maxClients) {
		if !merged[r.name] {
			t.Errorf("%x is missing", r.name)
		}
		largest = max(largest, r.name)
	}
	if n := estimate(Sample, largest); n < all*3/4 || n > all*5/4 {
		t.Errorf("estimated %d of %d", n, all)
	}
}

// Neither two tenants nor two days give a verifier the same pseudonym, and the new one
// of a day names those that it replaces.
func TestPseudonyms(t *testing.T) {
	c, now := counting()
	first, second := uuid.New(), uuid.New()
	observe := func() (names map[uuid.UUID]record) {
		names = map[uuid.UUID]record{}
		for _, id := range []uuid.UUID{first, second} {
			c.Observe(id, t0, address(1), "agent", NoValidator)
		}
		for _, r := range c.changed(now.UnixMicro(), maxClients) {
			names[r.tenantID] = r
			c.written(r)
		}
		return names
	}
	today := observe()
	if today[first].name == today[second].name {
		t.Error("two tenants see the same pseudonym")
	}
	*now = now.Add(24 * time.Hour)
	tomorrow := observe()
	if tomorrow[first].name == today[first].name || tomorrow[first].earlier[0] != today[first].name {
		t.Errorf("%x today, %x tomorrow, instead of %x", today[first].name, tomorrow[first].name, tomorrow[first].earlier)
	}
}

// A verifier that goes on asking with an old validator has not adopted the set that it
// was sent, until it asks with the new one.
func TestOutdatedValidators(t *testing.T) {
	old, set := t0, t0.Add(time.Hour)
	for name, test := range map[string]struct {
		asks    []Validator
		adopted bool
	}{
		"without":                {[]Validator{NoValidator}, true},
		"revalidates":            {[]Validator{Outdated, Current}, true},
		"first with the old one": {[]Validator{Outdated}, true},
		"keeps the old one":      {[]Validator{Outdated, Outdated, Outdated}, false},
		"repeats and learns":     {[]Validator{Outdated, Outdated, Current}, true},
	} {
		c, now := counting()
		id := uuid.New()
		c.Observe(id, old, address(1), "a", NoValidator)
		*now = set
		for _, v := range test.asks {
			c.Observe(id, set, address(1), "a", v)
		}
		rows := []db.ListJWKSClientsRow{}
		for _, r := range c.changed(now.UnixMicro(), maxClients) {
			rows = append(rows, db.ListJWKSClientsRow{Client: r.name, SetAt: time.UnixMicro(r.setAt), SeenAt: time.UnixMicro(r.seenAt)})
		}
		a := summarize(rows, set)
		if a.Fetchers != 1 || (a.Adopted == 1) != test.adopted || (len(a.Stragglers) == 0) != test.adopted || (a.Share == 1) != test.adopted {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// What one flush has no room for is in the next ones, and nothing has to wait for what
// came later.
func TestFlushesAreBounded(t *testing.T) {
	const all, most = 1000, 100
	c, now := counting()
	for i := range all {
		c.Observe(uuid.New(), t0, address(i), "a", NoValidator)
	}
	early := 0
	for range 3 * all / most {
		*now = now.Add(time.Second)
		for i := range most / 2 {
			c.Observe(uuid.New(), t0, address(i), "a", NoValidator)
		}
		due := c.changed(now.UnixMicro(), most)
		if len(due) > most {
			t.Fatalf("%d are due, more than %d", len(due), most)
		}
		for _, r := range due {
			c.written(r)
			if r.seenAt == t0.UnixMicro() {
				early++
			}
		}
	}
	if early != all {
		t.Errorf("%d of %d early ones were written", early, all)
	}
}

func TestNoVerifierIsNoShare(t *testing.T) {
	if a := summarize(nil, t0); a.Fetchers != 0 || a.Share != 0 {
		t.Errorf("%+v", a)
	}
}

// Requests of many goroutines while others flush; for the race detector.
func TestObservingWhileFlushing(t *testing.T) {
	c, _ := counting()
	id := uuid.New()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				c.Observe(id, t0, address(g*1000+i), "a", NoValidator)
				if i%500 == 0 {
					for _, r := range c.changed(t0.UnixMicro(), maxClients) {
						c.written(r)
					}
				}
			}
		})
	}
	wg.Wait()
	if kept, _ := c.Stats(); kept != Sample {
		t.Errorf("%d kept", kept)
	}
}

func BenchmarkObserve(b *testing.B) {
	c, _ := counting()
	id := uuid.New()
	for b.Loop() {
		c.Observe(id, t0, address(1), "Go-http-client/1.1", Current)
	}
}

// The verifiers of 100,000 tenants, two each, which is all that a process keeps, take a
// bounded number of bytes; without requests they are given back.
func TestBytesOfManyTenants(t *testing.T) {
	const tenants, most = 100_000, 1000 // bytes of a tenant with two verifiers
	inUse := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := inUse()
	c, _ := counting()
	for i := range tenants {
		id := uuid.New()
		c.Observe(id, t0, address(2*i), "an agent", NoValidator)
		c.Observe(id, t0, address(2*i+1), "an agent", NoValidator)
	}
	each := (inUse() - before) / tenants
	if kept, dropped := c.Stats(); kept != maxClients || dropped != 0 {
		t.Errorf("%d kept, %d dropped", kept, dropped)
	}
	if t.Logf("%d bytes per tenant", each); each > most {
		t.Errorf("a tenant takes %d bytes, want at most %d", each, most)
	}
	for _, r := range c.changed(t0.UnixMicro(), maxClients) {
		c.written(r)
	}
	c.changed(t0.Add(idleAfter+time.Second).UnixMicro(), maxClients)
	if left := inUse() - before; left > tenants*most/10 {
		t.Errorf("%d bytes are left", left)
	}
	runtime.KeepAlive(c)
}
