package keys

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/keyward/keyward/db"
)

// Inquiry asks whether a token is valid.
type Inquiry struct {
	Token    string
	Audience string // empty: any
	Issuer   string // empty: the tenant's
	Type     string // empty: any
}

// Verify checks a token of the tenant with that slug or id. The kid selects
// exactly one key of that tenant, or nothing; keys that have left the JWKS are
// looked up to say why they are not trusted. Errors: *VerifyError for a token
// that is not valid, tenant.ErrNotFound, ErrUnavailable.
func (s *Signer) Verify(ctx context.Context, ref string, q Inquiry) (Verdict, error) {
	snap, err := s.cfg.Snapshots.Fresh(ctx, ref)
	if err != nil {
		return Verdict{}, err
	}
	e := Expectation{
		Now: s.cfg.Now(), Skew: snap.Caching.ClockSkew, Issuer: q.Issuer, Audience: q.Audience, Type: q.Type,
	}
	if e.Issuer == "" {
		e.Issuer = snap.Issuer
	}
	if !snap.NotBefore.IsZero() {
		e.NotBefore = &snap.NotBefore
	}
	return Verify(q.Token, e, func(kid string) (Candidate, bool, error) { return s.candidate(ctx, snap, kid) })
}

func (s *Signer) candidate(ctx context.Context, snap *Snapshot, kid string) (Candidate, bool, error) {
	if k := snap.key(kid); k != nil {
		public, err := k.public()
		return Candidate{Key: Key{TenantID: snap.TenantID, KID: kid, Alg: k.alg, State: k.state}, Public: public}, true, err
	}
	var row db.GetKeyRow
	err := s.cfg.DB.InTenant(ctx, snap.TenantID, func(tx *db.Tx) (err error) {
		row, err = tx.GetKey(ctx, snap.TenantID, kid)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return Candidate{}, false, nil
	}
	return Candidate{Key: keyRow(row).key()}, err == nil, err
}

// inParallel calls do for every i below n on all cores.
func inParallel(n int, do func(i int)) {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}
