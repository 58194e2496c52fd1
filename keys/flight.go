package keys

import (
	"context"
	"errors"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// flight is a load under way.
type flight struct {
	done  chan struct{}
	entry *entry
	err   error
	dirty bool // something was heard meanwhile: what is being read may be old
}

// load reads a reference once for everybody who asks meanwhile. It goes on
// when the one who asked first goes away.
func (s *Snapshots) load(ctx context.Context, ref string) (*entry, error) {
	s.mu.Lock()
	f, flying := s.flights[ref]
	if !flying {
		f = &flight{done: make(chan struct{})}
		s.flights[ref] = f
		go s.fly(context.WithoutCancel(ctx), ref, f)
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Snapshots) fly(ctx context.Context, ref string, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s.misses.Add(1)
	e, err := s.read(ctx, ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, ref)
	if f.entry, f.err = e, err; err == nil {
		e.dirty.Store(f.dirty)
		s.about(ref).Set(ref, e)
	}
	close(f.done)
}

func (s *Snapshots) read(ctx context.Context, ref string) (*entry, error) {
	if domain := tenant.RefDomain(ref); domain != "" {
		return s.ask(ctx, domain)
	}
	e := &entry{loadedAt: s.cfg.Now()}
	id, _ := tenant.ParseID(ref)
	public, err := s.cfg.DB.PublicTenant(ctx, id, ref)
	if errors.Is(err, db.ErrNoRows) {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	e.snapshot, err = newSnapshot(public, s.cfg.PublicURL)
	if err != nil {
		s.cfg.Log.Error("tenant cannot be read", "tenant_id", public.Tenant.ID, "error", err)
	}
	return e, err
}
