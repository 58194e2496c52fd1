package moves

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
	"golang.org/x/sync/errgroup"
)

// Seed asks for tenants with a past, for measuring what a database costs that
// has many. They are as if the worker had looked after them from their
// creation: what they hold was decided by [keys.Plan] and noted in ledgers, their
// chains verify, their keys are sealed and sign. Only the way into the database
// is another one, by COPY and past the guards, which need a superuser.
type Seed struct {
	Tenants int
	Keys    int                     // of each tenant, 2 to 16: one signs, one stands by, the others have signed
	Events  int                     // in each history; at least 3 for each key
	Alg     jose.SignatureAlgorithm // empty: ES256
	Prefix  string                  // of the slugs; a number follows
}

// Errors of seeding.
var (
	ErrBadSeed      = errors.New("keys: a seed has 2 to 16 keys for each tenant and at least 3 events for each key")
	ErrNotSuperuser = db.ErrNotSuperuser
)

// seedBatch is how many tenants are copied in one transaction.
const seedBatch = 2000

// seedInterval and seedJitter space the rotations of seeded tenants. All keys
// stay published for all of the past, so that it has no other moves.
const (
	seedInterval = 30 * 24 * time.Hour
	seedJitter   = 0.05
	seedQuiet    = time.Hour // nothing is due before
)

func (s Seed) validate() error {
	if s.Tenants < 1 || s.Keys < 2 || s.Keys > 16 || s.Events < 3*s.Keys {
		return ErrBadSeed
	}
	return nil
}

// Slug is that of the tenant with a number, from 0.
func (s Seed) Slug(i int) string { return fmt.Sprintf("%s-%07d", s.Prefix, i) }

func (s Seed) spec(i int) tenant.Spec {
	p := tenant.DefaultPolicy(s.Alg)
	p.RotationInterval, p.GracePeriod, p.Default = seedInterval, time.Duration(s.Keys)*seedInterval, true
	return tenant.Spec{
		Slug: s.Slug(i), Name: fmt.Sprintf("Tenant %d", i),
		Caching: tenant.DefaultCaching, Policies: []tenant.Policy{p},
	}
}

// Seed writes the tenants and tells progress how many there are. A crash
// leaves whole tenants; their slugs are taken then, which another prefix
// avoids. Errors: ErrBadSeed, ErrNotSuperuser, tenant.ErrSlugTaken,
// ErrUnavailable.
func (s *Store) Seed(ctx context.Context, by audit.By, seed Seed, progress func(done int)) error {
	if seed.Alg == "" {
		seed.Alg = jose.ES256
	}
	if err := seed.validate(); err != nil {
		return err
	}
	now, batches := s.now(), make(chan int)
	group, going := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(batches)
		return seed.eachBatch(going, batches)
	})
	var done atomic.Int64
	for range 2 { // one makes tenants while PostgreSQL writes those of the other
		group.Go(func() error {
			for from := range batches {
				n := min(seedBatch, seed.Tenants-from)
				if err := s.seedBatch(going, by, seed, now, from, n); err != nil {
					return err
				}
				progress(int(done.Add(int64(n))))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return tenant.Refused(err)
	}
	return s.cfg.DB.Settle(ctx)
}

// eachBatch sends where each batch begins.
func (s Seed) eachBatch(ctx context.Context, batches chan<- int) error {
	for from := 0; from < s.Tenants; from += seedBatch {
		select {
		case batches <- from:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *Store) seedBatch(ctx context.Context, by audit.By, seed Seed, now time.Time, from, n int) error {
	var rows seedRows
	for i := from; i < from+n; i++ {
		p, err := s.seedPast(ctx, by, seed, now, i)
		if err != nil {
			return err
		}
		if err := rows.add(p); err != nil {
			return err
		}
	}
	return rows.copy(ctx, s.cfg.DB)
}
