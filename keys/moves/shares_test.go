package moves

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// turnOf enters the slots in a goroutine, and returns when it waits or has a slot.
func turnOf(t *testing.T, s *slots, id uuid.UUID, entered chan<- uuid.UUID) (leave <-chan func()) {
	t.Helper()
	out := make(chan func(), 1)
	before := s.callers()
	go func() {
		l, err := s.enter(t.Context(), id)
		if err != nil {
			t.Error(err)
			return
		}
		entered <- id
		out <- l
	}()
	for s.callers() == before {
	}
	return out
}

func (s *slots) callers() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = len(s.waiting)
	for _, taken := range s.taken {
		n += taken
	}
	return n
}

// However many keys one tenant asks for, another one's is generated at once, and before
// those of the first that wait.
func TestOneTenantHasItsShareOfTheSlots(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		s := newSlots(n)
		attacker, victim, third := uuid.New(), uuid.New(), uuid.New()
		entered := make(chan uuid.UUID, 100)
		var leaves []<-chan func()
		for range 20 {
			leaves = append(leaves, turnOf(t, s, attacker, entered))
		}
		for range s.share {
			if id := <-entered; id != attacker {
				t.Fatal("somebody else has a slot")
			}
		}
		first := turnOf(t, s, victim, entered)
		if id := <-entered; id != victim {
			t.Fatalf("of %d slots the attacker has all", n)
		}
		if s.mu.Lock(); s.taken[attacker] != s.share || len(s.waiting) != 20-s.share {
			t.Errorf("the attacker has %d of %d slots, and %d keys wait", s.taken[attacker], n, len(s.waiting))
		}
		s.mu.Unlock()
		// With all slots in use, the next free one is for the tenant that has none.
		var others []<-chan func()
		for range n - s.share - 1 {
			others = append(others, turnOf(t, s, uuid.New(), entered))
			<-entered
		}
		last := turnOf(t, s, third, entered)
		(<-leaves[0])()
		if id := <-entered; id != third {
			t.Error("the attacker's next key came first")
		}
		for _, l := range slices.Concat([]<-chan func(){first, last}, others, leaves[1:]) {
			(<-l)()
		}
		if s.callers() != 0 || s.free != n || len(s.taken)+len(s.served) != 0 {
			t.Errorf("%d callers and %d free slots are left", s.callers(), s.free)
		}
	}
}

// A caller that gives up while it waits keeps no slot.
func TestSlotOfACallerThatGivesUp(t *testing.T) {
	s := newSlots(2)
	tenantID := uuid.New()
	for range 200 {
		leave, err := s.enter(t.Context(), tenantID)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			if l, err := s.enter(ctx, tenantID); err == nil {
				l()
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		done.Go(cancel)
		done.Go(leave)
		done.Wait()
		if s.free != 2 || s.callers() != 0 || len(s.served) != 0 {
			t.Fatalf("%d slots are free, %d callers left", s.free, s.callers())
		}
	}
}

func TestUsageIsARate(t *testing.T) {
	u := newUsage(time.Second, 10)
	id, now := uuid.New(), time.Unix(1000, 0)
	for i := range 10 {
		if wait := u.wait(id, 1, now); wait != 0 {
			t.Fatalf("after %d keys of a burst of 10: %s", i, wait)
		}
		if got, want := u.frequent(id, now), i > 5; got != want {
			t.Errorf("after %d keys frequent is %t", i, got)
		}
		u.note(id, now)
	}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 100: 10 * time.Second} {
		if wait := u.wait(id, n, now); wait != want {
			t.Errorf("for %d keys: %s, want %s", n, wait, want)
		}
	}
	for range 100 {
		u.note(id, now)
	}
	if wait := u.wait(id, 1, now.Add(time.Second)); wait != 0 {
		t.Errorf("emergencies have to be paid back: %s", wait)
	}
	if wait := u.wait(uuid.New(), 1, now); wait != 0 {
		t.Errorf("another tenant waits %s", wait)
	}
	for range 5000 { // of tenants whose use is over nothing is kept
		now = now.Add(time.Second)
		u.note(uuid.New(), now)
	}
	if len(u.until) > 2048 {
		t.Errorf("%d tenants are remembered", len(u.until))
	}
}

// A tenant that takes RSA keys without end is told to wait, leaves ready keys to others,
// and can still revoke; another tenant and cheap keys notice nothing.
func TestOneTenantDoesNotUseUpTheRSAKeys(t *testing.T) {
	p := newProcess(t)
	g := NewGenerator(GeneratorConfig{Ready: 4, Every: time.Hour, Burst: 8})
	g.onKey = learn
	t.Cleanup(g.Close)
	g.Expect(jose.RS256, 0)
	p.store.cfg.Generator = g
	attacker := p.tenant(t, "attacker", tenant.DefaultPolicy(jose.RS256)).ID
	victim := p.tenant(t, "victim", tenant.DefaultPolicy(jose.RS256)).ID
	rotate := func(id uuid.UUID) error {
		_, err := p.store.Rotate(t.Context(), tester, id, RotateRequest{})
		return err
	}
	for i := range 8 {
		if err := rotate(attacker); err != nil {
			t.Fatalf("rotation %d: %v", i, err)
		}
	}
	var limited *RateError
	if err := rotate(attacker); !errors.As(err, &limited) || limited.RetryAfter <= 0 || limited.RetryAfter > time.Hour {
		t.Fatalf("after its burst: %v", err)
	}
	put := tenant.DefaultPolicy(jose.PS256)
	if _, _, err := p.store.PutPolicy(t.Context(), tester, attacker, put); !errors.As(err, &limited) {
		t.Errorf("a policy with RSA keys after its burst: %v", err)
	}
	if _, _, err := p.store.PutPolicy(t.Context(), tester, attacker, tenant.DefaultPolicy(jose.EdDSA)); err != nil {
		t.Errorf("a policy with cheap keys: %v", err)
	}
	awaitReady(t, g, jose.RS256)
	if _, err := p.store.RevokeAll(t.Context(), tester, attacker, keys.Compromised, ""); err != nil {
		t.Errorf("an emergency: %v", err)
	}
	kind, _ := poolKeyOf(jose.RS256, 0)
	for range 8 {
		awaitReady(t, g, jose.RS256)
		for range 4 {
			g.takeReady(attacker, kind)
		}
		if n := len(g.poolOf(kind)); n < 2 {
			t.Fatalf("the attacker leaves %d ready keys", n)
		}
	}
	made := 0
	g.onWait = func() { made++ }
	if err := rotate(victim); err != nil || made != 0 {
		t.Errorf("the victim waits for %d keys: %v", made, err)
	}
}

// The worker postpones the rotations of a tenant that has had its share, and no other's.
func TestScheduleKeepsToTheShare(t *testing.T) {
	p := newProcess(t)
	g := NewGenerator(GeneratorConfig{Ready: 1, Every: time.Hour, Burst: 2})
	g.onKey = learn
	t.Cleanup(g.Close)
	p.store.cfg.Generator = g
	attacker := p.tenant(t, "attacker", tenant.DefaultPolicy(jose.RS256)).ID
	victim := p.tenant(t, "victim", tenant.DefaultPolicy(jose.RS256)).ID
	for range 2 {
		g.usage.note(attacker, time.Now())
	}
	before := map[uuid.UUID]string{attacker: p.only(t, attacker, keys.Active), victim: p.only(t, victim, keys.Active)}
	p.becomeDue(t, 0)
	p.tick(t)
	if kid := p.only(t, attacker, keys.Active); kid != before[attacker] {
		t.Error("the attacker's key rotated")
	}
	if kid := p.only(t, victim, keys.Active); kid == before[victim] {
		t.Error("the victim's key did not rotate")
	}
	if next, err := p.store.nextDue(t.Context()); err != nil || next.Sub(p.clock.Now()) < time.Minute {
		t.Errorf("the worker looks again at %s, %v", next, err)
	}
}

// A tenant has a bounded number of keys, of which those that were purged count for a day:
// who makes and purges them in a loop fills no table. Revocations, which end more than they begin,
// are not refused.
func TestKeysOfATenantAreBounded(t *testing.T) {
	p := newProcess(t)
	p.store.cfg.MaxKeys = 6
	acme := p.tenant(t, "acme").ID
	var full *tenant.LimitError
	for range 4 {
		if _, err := p.store.Rotate(t.Context(), tester, acme, RotateRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.store.Rotate(t.Context(), tester, acme, RotateRequest{}); !errors.As(err, &full) || full.Limit != 6 {
		t.Errorf("a rotation beyond the limit: %v", err)
	}
	if _, _, err := p.store.PutPolicy(t.Context(), tester, acme, tenant.DefaultPolicy(jose.EdDSA)); !errors.As(err, &full) {
		t.Errorf("a policy beyond the limit: %v", err)
	}
	jwk := must(keys.PublicJWK(must(keys.Generate(jose.ES256, 0)).Public(), jose.ES256, "imported"))
	_, _, err := p.store.ImportPublic(t.Context(), tester, acme, PublicImport{Key: jwk, ExpiresAt: p.clock.Now().Add(time.Hour)})
	if !errors.As(err, &full) {
		t.Errorf("an import beyond the limit: %v", err)
	}
	if _, err := p.store.RevokeAll(t.Context(), tester, acme, keys.Compromised, ""); err != nil {
		t.Errorf("a revocation: %v", err)
	}
	if purged, err := p.store.Purge(t.Context(), tester, acme); err != nil || len(purged) < 5 {
		t.Fatalf("%d purged: %v", len(purged), err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, acme, RotateRequest{}); !errors.As(err, &full) {
		t.Errorf("one more in place of those made and purged today: %v", err)
	}
	p.clock.Advance(tenant.CountedFor)
	if _, err := p.store.Rotate(t.Context(), tester, acme, RotateRequest{}); err != nil {
		t.Errorf("a day later: %v", err)
	}
	if other := p.tenant(t, "other").ID; other == acme {
		t.Error("one tenant twice")
	} else if _, err := p.store.Rotate(t.Context(), tester, other, RotateRequest{}); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}
