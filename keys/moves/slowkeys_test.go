package moves

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// Sixteen RSA keys that are due at once, on processors that other work fills, take long to
// make. What is written down is when they were there, not when the pass began: with that
// time, verifiers would have less time to fetch them, and the old keys would sign after
// their horizon. The database checks its 5 s meanwhile.
func TestSlowKeysTakeEffectWhenTheyAreThere(t *testing.T) {
	const tenants = 16
	p := newProcess(t)
	policy := tenant.DefaultPolicy(jose.RS256)
	policy.Default, policy.RSABits = true, 3072
	made := make([]tenant.Tenant, tenants)
	for i := range made {
		made[i] = p.tenant(t, fmt.Sprintf("rsa-%d", i), policy)
	}
	const month = 31 * 24 * time.Hour
	p.clock.mu.Lock()
	p.clock.move = nil // the database's clock goes on, and so does its check of every time
	p.clock.mu.Unlock()
	dbtest.ShiftClock(t, p.dsn, month)
	p.clock.Advance(month)

	var mu sync.Mutex
	var last time.Time // when the last key was there
	p.store.cfg.Generator.onKey = func(made keys.Private, err error) {
		learn(made, err)
		mu.Lock()
		defer mu.Unlock()
		last = p.clock.Now()
	}
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for !stop.Load() {
			}
		})
	}
	began := p.clock.Now()
	done, err := p.store.RunDue(t.Context(), robot, 100)
	ended := p.clock.Now()
	stop.Store(true)
	busy.Wait()
	if err != nil || done.Failed != 0 || done.Rotated < tenants {
		t.Fatalf("%+v, %v", done, err)
	}
	if ready := last.Sub(began); ready <= 0 {
		t.Fatalf("the last key was there after %s", ready)
	}
	for _, m := range made {
		old, err := p.store.Get(t.Context(), m.ID, p.only(t, m.ID, keys.Deprecated))
		if err != nil {
			t.Fatal(err)
		}
		next, err := p.store.Get(t.Context(), m.ID, p.only(t, m.ID, keys.Standby))
		if err != nil {
			t.Fatal(err)
		}
		if next.PublishedAt.Before(last.Truncate(time.Microsecond)) || next.PublishedAt.After(ended) {
			t.Errorf("%s: published %s before the last key was there", m.Slug, last.Sub(next.PublishedAt))
		}
		if at := *old.DeprecatedAt; !at.Equal(next.PublishedAt) || old.TokenHorizon == nil || old.TokenHorizon.Before(at.Add(policy.MaxTokenTTL+m.Caching.ClockSkew+keys.SigningTail)) ||
			old.ExpiresAt.Before(*old.TokenHorizon) {
			t.Errorf("%s: deprecated at %s, published at %s, horizon %v, expires %v", m.Slug, at, next.PublishedAt, old.TokenHorizon, old.ExpiresAt)
		}
		p.intact(t, m.ID)
	}
	var early int
	const stamp = "2006-01-02 15:04:05.000000Z07:00"
	p.query(t, fmt.Sprintf("SELECT count(*) FROM audit_events WHERE at > '%s' AND at < '%s'", began.Format(stamp), last.Format(stamp)), &early)
	if early != 0 {
		t.Errorf("%d events have a time at which the keys were not there", early)
	}
}
