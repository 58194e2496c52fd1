package moves

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// cold drops what a process has opened, as its lifetime in memory would.
func (p *process) cold() {
	p.signer.Missed()
	p.custody.InvalidateDataKeys()
}

func (p *process) rotateMaster(t testing.TB, to string) custody.MasterRotation {
	t.Helper()
	r, err := p.custody.RotateMaster(t.Context(), tester, to, custody.RewrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMasterKeyRotatesOnline(t *testing.T) {
	p := newProcess(t)
	other := p.another(t)
	made := p.tenant(t, "acme")
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil {
			other.cold()
			if _, err := other.signer.SignToken(context.Background(), "acme", signing.Order{}); err != nil {
				t.Errorf("signing meanwhile: %v", err)
				return
			}
		}
	})
	for range 3 {
		if r := p.rotateMaster(t, ""); r.Resumed || r.Rewrapped != 2 || len(r.Retired) != 1 || r.Current.DataKeys != 2 {
			t.Errorf("got %+v", r)
		}
	}
	stop()
	busy.Wait()
	removed, err := p.custody.PruneMaster(t.Context())
	if err != nil || len(removed) != 3 {
		t.Errorf("removed %v: %v", removed, err)
	}
	fresh := p.another(t)
	fresh.sign(t, "acme")
	if _, err := fresh.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Error(err)
	}
	fresh.intact(t, made.ID)
}

// A process that was configured with the old place follows to the new one,
// because the old key vouches for it.
func TestMasterKeyMovesToAnotherPlace(t *testing.T) {
	p := newProcess(t)
	other := p.another(t)
	p.tenant(t, "acme")
	to := "file:" + filepath.Join(t.TempDir(), "next.json")
	p.rotateMaster(t, to)
	other.cold()
	other.sign(t, "acme")
	other.tenant(t, "later")
	moved := startProcess(t, p.dsn, to, p.clock)
	moved.sign(t, "acme")
	moved.sign(t, "later")
}

func TestInterruptedRotationIsFinished(t *testing.T) {
	p := newProcess(t, func(c *configs) { c.custody.RewrapBatch = 2 })
	for i := range 9 {
		p.tenant(t, fmt.Sprintf("t%d", i))
	}
	ctx, crash := context.WithCancel(t.Context())
	_, err := p.custody.RotateMaster(ctx, tester, "", custody.RewrapOptions{Progress: func(done, _ int64) {
		if done >= 4 {
			crash()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	q := p.another(t)
	r := q.rotateMaster(t, "")
	if !r.Resumed || r.Rewrapped >= 10 || r.Rewrapped < 1 || len(r.Retired) != 1 {
		t.Errorf("got %+v", r)
	}
	for i := range 9 {
		q.sign(t, fmt.Sprintf("t%d", i))
	}
}

// A re-wrap has few data keys in a transaction, one transaction at a time and a
// rest after each, unless it is in a hurry.
func TestRewrapYieldsToRequests(t *testing.T) {
	var (
		p              *process
		resting, rests atomic.Int32
	)
	p = newProcess(t, func(c *configs) {
		c.custody.RewrapParallel = 1 // batches in their order
		c.custody.Rest = func(_ context.Context, d time.Duration) {
			if rests.Add(1); resting.Add(1) != 1 || d <= 0 {
				t.Errorf("rests for %v, %d at a time", d, resting.Load())
			}
			if n, want := p.rewrapped(t), min(custody.YieldBatch*int(rests.Load()), 2*custody.YieldBatch+1); n != want {
				t.Errorf("rest %d after %d data keys, want %d", rests.Load(), n, want)
			}
			resting.Add(-1)
		}
	})
	for i := range 2 * custody.YieldBatch { // the platform is one more
		p.tenant(t, fmt.Sprintf("t%d", i))
	}
	if r := p.rotateMaster(t, ""); r.Rewrapped != 2*custody.YieldBatch+1 || rests.Load() != 3 {
		t.Errorf("%d data keys and %d rests", r.Rewrapped, rests.Load())
	}
	q := p.another(t, func(c *configs) {
		c.custody.RewrapParallel = 4
		c.custody.Rest = func(context.Context, time.Duration) {
			if rests.Add(1); resting.Add(1) != 1 {
				t.Error("another transaction has begun")
			}
			time.Sleep(time.Millisecond)
			resting.Add(-1)
		}
	})
	if r := q.rotateMaster(t, ""); r.Rewrapped != 2*custody.YieldBatch+1 || rests.Load() != 6 {
		t.Errorf("%d data keys and %d rests", r.Rewrapped, rests.Load())
	}
	r, err := q.custody.RotateMaster(t.Context(), tester, "", custody.RewrapOptions{FullSpeed: true})
	if err != nil || r.Rewrapped != 2*custody.YieldBatch+1 || rests.Load() != 6 {
		t.Errorf("at full speed: %d data keys and %d rests, %v", r.Rewrapped, rests.Load(), err)
	}
}

// rewrapped counts the data keys that the current master key wraps.
func (p *process) rewrapped(t *testing.T) int {
	t.Helper()
	list, err := p.custody.Status(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, k := range list {
		if k.Current {
			return int(k.DataKeys)
		}
	}
	return 0
}

// Data keys that are rotated, and tenants that are deleted, while they are
// being re-wrapped are no reason to stop; nor is a second rotation.
func TestRewrapAmongOtherChanges(t *testing.T) {
	p := newProcess(t, func(c *configs) { c.custody.RewrapBatch = 3 })
	var made []tenant.Tenant
	for i := range 12 {
		made = append(made, p.tenant(t, fmt.Sprintf("t%d", i)))
	}
	other := p.another(t)
	errs := together(4, func(i int) error {
		switch i {
		case 0:
			_, err := p.custody.RotateMaster(context.Background(), tester, "", custody.RewrapOptions{})
			return err
		case 1:
			_, err := other.custody.RewrapAll(context.Background(), tester, custody.RewrapOptions{})
			return err
		case 2:
			for _, m := range made[:10] {
				if _, err := other.store.RotateDataKey(context.Background(), tester, m.ID); err != nil {
					return err
				}
			}
		case 3:
			return errors.Join(p.store.DeleteTenant(context.Background(), tester, made[10].ID), p.store.DeleteTenant(context.Background(), tester, made[11].ID))
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	p.rotateMaster(t, "")
	for _, m := range made[:10] {
		p.forget()
		p.sign(t, m.Slug)
		p.intact(t, m.ID)
	}
}

func TestWrongMasterKeyIsRefused(t *testing.T) {
	p := newProcess(t)
	wrong := "file:" + filepath.Join(t.TempDir(), "wrong.json")
	c := custody.New(custody.Config{DB: p.db, URI: wrong, Now: time.Now})
	if err := c.Open(t.Context()); !errors.Is(err, custody.ErrWrongMasterKey) {
		t.Errorf("a lost file: %v", err)
	}
	if _, err := seal.Init(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	if err := c.Open(t.Context()); !errors.Is(err, custody.ErrWrongMasterKey) {
		t.Errorf("another master key: %v", err)
	}
}

// Write access to the database is not enough to bring in a master key.
func TestUnendorsedMasterKeyIsRefused(t *testing.T) {
	p := newProcess(t)
	evil := "file:" + filepath.Join(t.TempDir(), "evil.json")
	ring, err := seal.Init(t.Context(), evil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ring.Key(t.Context(), ring.Newest())
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.New()
	check, err := key.KeyCheck(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, p.dsn, "UPDATE master_keys SET is_current = false")
	dbtest.Exec(t, p.dsn, `INSERT INTO master_keys (id, uri, version, is_current, key_check, endorsed_by, endorsement, authority, created_at)
		SELECT $1, $2, $3, true, $4, id, $4, authority, now() FROM master_keys`, id, ring.URI(), ring.Newest(), check)
	if err := p.custody.Refresh(t.Context()); !errors.Is(err, custody.ErrWrongMasterKey) {
		t.Errorf("got %v", err)
	}
	_, err = p.store.CreateTenant(t.Context(), tester, tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching})
	if !errors.Is(err, custody.ErrWrongMasterKey) {
		t.Errorf("a tenant was made under it: %v", err)
	}
}

func TestDataKeyRotates(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	before := p.sign(t, "acme")
	r, err := p.store.RotateDataKey(t.Context(), tester, made.ID)
	if err != nil || r.Version != 2 || r.Resealed != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	p.await(t, "acme")
	p.cold()
	if after := p.sign(t, "acme"); after.KID != before.KID {
		t.Error("another key signs")
	}
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Error(err)
	}
	p.intact(t, made.ID)
}
