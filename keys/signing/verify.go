package signing

import (
	"context"
	"errors"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
)

// VerifyRequest requests the verification of a token.
type VerifyRequest struct {
	Token      string
	Audience   string   // empty: any
	Issuer     string   // empty: that of the tenant
	Type       string   // empty: any
	AnyIssuer  bool     // iss is not checked: some systems write none
	Algorithms []string // empty: any
	Required   []string // claims that must be there
}

// Verify checks a token of the tenant with this slug or id. The kid selects exactly one
// key of that tenant, or none; keys that have left the JWKS are read from the database
// to name the reason for the rejection. Errors: *tokens.VerifyError for an invalid
// token, tenant.ErrNotFound, db.ErrUnavailable, *OverloadError.
func (s *Signer) Verify(ctx context.Context, ref string, q VerifyRequest) (tokens.Verdict, error) {
	snap, err := s.cfg.Snapshots.Fresh(ctx, ref)
	if err != nil {
		return tokens.Verdict{}, err
	}
	e := tokens.Expectation{
		Now: s.cfg.Now(), Skew: snap.Caching.ClockSkew, Issuer: q.Issuer, Audience: q.Audience, Type: q.Type,
		AnyIssuer: q.AnyIssuer, Algorithms: q.Algorithms, Required: q.Required,
	}
	if e.Issuer == "" {
		e.Issuer = snap.Issuer
	}
	if !snap.NotBefore.IsZero() {
		e.NotBefore = &snap.NotBefore
	}
	var held turn // from when the key is found
	defer func() { s.turns.giveBack(held) }()
	return tokens.Verify(q.Token, e, func(kid string, alg jose.SignatureAlgorithm) (k tokens.VerificationKey, found bool, err error) {
		if k, found, err = s.findKey(ctx, snap, kid, alg); found && err == nil {
			held, err = s.turns.take(ctx, snap.TenantID, work{alg: string(alg), verifies: true}, false)
		}
		return k, found, err
	})
}

// findKey returns the key with this kid: from the snapshot, or, if it is no longer
// published, from the database.
func (s *Signer) findKey(ctx context.Context, snap *snapshot.Snapshot, kid string, alg jose.SignatureAlgorithm) (tokens.VerificationKey, bool, error) {
	if k, found, err := snap.Find(kid, alg); found {
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
