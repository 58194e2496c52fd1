package moves

import (
	"context"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/adoption"
)

// standbyAdoption is how far a standby key has got among the verifiers.
type standbyAdoption struct {
	kid        string
	share      float64
	stragglers []string // pseudonyms of verifiers without the key, at most maxStragglers
	told       bool     // the history has an event that the rotation waits for them
}

// maxStragglers bounds the verifiers that an event names.
const maxStragglers = 20

// adoptionByTenant is the adoption of the standby keys of tenants, by algorithm.
type adoptionByTenant map[uuid.UUID]map[jose.SignatureAlgorithm]standbyAdoption

// adoptionOf returns how far the standby keys of those policies have got that ask for it.
// A tenant without verifiers has none.
func (s *Store) adoptionOf(ctx context.Context, at time.Time, tenants []uuid.UUID) (shares adoptionByTenant, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		shares, err = readAdoption(ctx, tx, at, tenants)
		return err
	})
	return shares, err
}

func readAdoption(ctx context.Context, tx *db.Tx, at time.Time, tenants []uuid.UUID) (adoptionByTenant, error) {
	rows, err := tx.AdoptionOfStandbys(ctx, maxStragglers, at.Add(-adoption.Window), tenants)
	shares := adoptionByTenant{}
	for _, row := range rows {
		if shares[row.TenantID] == nil {
			shares[row.TenantID] = map[jose.SignatureAlgorithm]standbyAdoption{}
		}
		a := standbyAdoption{kid: row.KID, share: float64(row.Adopted) / float64(row.Fetchers), told: row.Told}
		for _, client := range row.Stragglers {
			a.stragglers = append(a.stragglers, adoption.Pseudonym(client))
		}
		shares[row.TenantID][jose.SignatureAlgorithm(row.Alg)] = a
	}
	return shares, err
}

// addWaitingEvent records, once per standby key, why a rotation waits, and for which
// verifiers.
func (l *ledger) addWaitingEvent(s keys.Schedule, kid string, until time.Time) {
	a := l.adoption[s.Alg]
	if a.told || a.kid != kid {
		return
	}
	l.addEvent(audit.Event{Action: audit.PolicyWaiting, KID: kid}, map[string]any{
		"alg": s.Alg, "adoption": a.share, "min_adoption": s.MinAdoption, "until": until, "stragglers": a.stragglers,
	})
}

// maxWaitingLogged bounds how many waiting keys a process remembers.
const maxWaitingLogged = 10_000

// logWaiting logs once per standby key why its promotion waits.
func (s *Store) logWaiting(tenantID uuid.UUID, p keys.Schedule, kid string, until time.Time) {
	if s.waitingLogged.Len() >= maxWaitingLogged {
		s.waitingLogged.Clear()
	}
	if !s.waitingLogged.Add(tenantID.String() + "/" + kid) {
		return
	}
	s.cfg.Log.Info("rotation waits for verifiers to fetch the standby key", "tenant_id", tenantID, "alg", p.Alg, "kid", kid,
		"adoption", *p.Adoption, "min_adoption", p.MinAdoption, "until", until)
}

// onceSet is a set of names. It is safe for concurrent use; the zero value is empty.
type onceSet struct {
	mu    sync.Mutex
	names map[string]struct{}
}

// Add reports whether the name is new.
func (o *onceSet) Add(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.names[name]; known {
		return false
	}
	if o.names == nil {
		o.names = map[string]struct{}{}
	}
	o.names[name] = struct{}{}
	return true
}

// Len returns the number of names.
func (o *onceSet) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.names)
}

// Clear removes all names.
func (o *onceSet) Clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.names)
}
