package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// flight is a load under way.
type flight struct {
	done  chan struct{}
	entry *entry
	err   error
	dirty bool // something was heard meanwhile: what is being read may be old
}

// load reads a reference once for everybody who asks meanwhile: who asks first
// does it, to the end, even if its own caller has gone away.
func (s *Cache) load(ctx context.Context, ref string) (*entry, error) {
	s.mu.Lock()
	f, flying := s.flights[ref]
	if !flying {
		// One may have landed since nothing was found.
		if e, ok := s.hit(ref); ok {
			s.mu.Unlock()
			return e, nil
		}
	}
	if !flying || f.dirty { // who asks after a change is not told of the time before
		f = &flight{done: make(chan struct{}), err: errCrashed}
		s.flights[ref] = f
		s.mu.Unlock()
		s.fly(context.WithoutCancel(ctx), ref, f)
		return f.entry, f.err
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errCrashed is what those hear who waited for somebody who panicked.
var errCrashed = errors.New("keys: reading the tenant did not come to an end")

func (s *Cache) fly(ctx context.Context, ref string, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	defer s.land(ref, f)
	s.misses.Add(1)
	f.entry, f.err = s.read(ctx, ref)
}

// land keeps what was read and lets go of those who wait for it.
func (s *Cache) land(ref string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.flights[ref] == f
	if current {
		delete(s.flights, ref)
	}
	if f.err == nil && current {
		f.entry.dirty.Store(f.dirty)
		if found := f.entry.snapshot; found != nil && found.Slug == ref {
			ref = found.Slug // lies beside what is answered
		}
		s.about(ref).Set(ref, f.entry)
	}
	close(f.done)
}

func (s *Cache) read(ctx context.Context, ref string) (*entry, error) {
	if domain := tenant.RefDomain(ref); domain != "" {
		return s.ask(ctx, domain)
	}
	e := &entry{loadedAt: s.cfg.Now()}
	id, _ := tenant.ParseID(ref)
	public, as, ok := s.readReplica(ctx, id, ref)
	if ok {
		e.loadedAt = as
	}
	var err error
	if !ok {
		public, err = s.cfg.DB.PublicTenant(ctx, id, ref)
	}
	if errors.Is(err, db.ErrNoRows) {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	snap, err := newSnapshot(public, s.cfg.PublicURL)
	if err != nil {
		s.cfg.Log.Error("tenant cannot be read", "tenant_id", public.Tenant.ID, "error", err)
		return nil, err
	}
	return snap.remembered(e.loadedAt), nil
}

// readReplica asks the standby. Its answer is used if it is as late as all that
// was heard of until as, which counts as the time of reading: what has been
// committed since may be missing in it. A tenant that it does not know, a
// standby that lags or is away, and a time in which nothing can be heard are
// left to the primary.
func (s *Cache) readReplica(ctx context.Context, id uuid.UUID, ref string) (p db.Public, as time.Time, ok bool) {
	if !s.cfg.DB.HasReplica() || s.cfg.Now().Sub(s.cfg.HeardUntil()) >= keys.FreshFor {
		return p, as, false
	}
	p, place, err := s.cfg.DB.PublicTenantOfReplica(ctx, id, ref)
	if err != nil {
		return p, as, false
	}
	as = s.cfg.HeardUntil()
	now := s.cfg.Now()
	if !s.replica.knows(p.Tenant.ID, place, now) || now.Sub(as) >= keys.FreshFor {
		return p, as, false
	}
	s.replicaReads.Add(1)
	return p, as, true
}

// Beat is told how far the primary's log has got ([db.Listener.Beat]).
func (s *Cache) Beat(place uint64) { s.replica.beat(place, s.cfg.Now()) }

// ReplicaReads counts what was read from the standby, since the start.
func (s *Cache) ReplicaReads() int64 { return s.replicaReads.Load() }
