package signing

import (
	"context"
	"errors"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
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
// looked up to say why they are not trusted. Errors: *tokens.VerifyError for a token
// that is not valid, tenant.ErrNotFound, db.ErrUnavailable.
func (s *Signer) Verify(ctx context.Context, ref string, q Inquiry) (tokens.Verdict, error) {
	snap, err := s.cfg.Snapshots.Fresh(ctx, ref)
	if err != nil {
		return tokens.Verdict{}, err
	}
	e := tokens.Expectation{
		Now: s.cfg.Now(), Skew: snap.Caching.ClockSkew, Issuer: q.Issuer, Audience: q.Audience, Type: q.Type,
	}
	if e.Issuer == "" {
		e.Issuer = snap.Issuer
	}
	if !snap.NotBefore.IsZero() {
		e.NotBefore = &snap.NotBefore
	}
	return tokens.Verify(q.Token, e, func(kid string) (tokens.VerificationKey, bool, error) { return s.candidate(ctx, snap, kid) })
}

func (s *Signer) candidate(ctx context.Context, snap *snapshot.Snapshot, kid string) (tokens.VerificationKey, bool, error) {
	if k, found, err := snap.Find(kid); found {
		return k, true, err
	}
	var row db.GetKeyRow
	err := s.cfg.DB.InTenant(ctx, snap.TenantID, func(tx *db.Tx) (err error) {
		row, err = tx.GetKey(ctx, snap.TenantID, kid)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return tokens.VerificationKey{}, false, nil
	}
	return tokens.VerificationKey{Key: snapshot.KeyRow(row).Key()}, err == nil, err
}
