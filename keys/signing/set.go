package signing

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys/snapshot"
)

// SignedSet returns the current JWK Set of the snapshot's tenant as a signed JWT (OpenID
// Federation 1.0 section 5.2.1), so that a copy which passed through a CDN, a file or a
// stranger can be checked with a key that was pinned once. It is signed anew after each
// change and when it is [HistoryFor] old. stale, old and the errors are those of
// History; without PostgreSQL a set is returned until it expires.
func (s *Signer) SignedSet(ctx context.Context, snap *snapshot.Snapshot, stale time.Duration) (set *History, old time.Duration, err error) {
	return s.signedDocument(ctx, s.sets, snap, stale)
}

// signSet signs the set of a snapshot, byte for byte the keys of its JWKS. A suspended
// tenant's is signed too, because its tokens keep verifying. Unlike a history it has an
// exp, without which a verifier must not take a JWT of this typ for a current set, and
// (epoch, version), which never decreases from one set to the next: verifiers refuse a
// copy that is older than one they have seen.
func (s *Signer) signSet(ctx context.Context, snap *snapshot.Snapshot) (*History, error) {
	now, began := s.cfg.Now(), age.Read(s.cfg.Now)
	expires := now.Add(setLifetime(snap))
	var set struct {
		Keys json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(snap.JWKS, &set); err != nil {
		return nil, err
	}
	epoch, err := s.currentEpoch(ctx, snap.TenantID)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // keep the issuer unescaped
	err = enc.Encode(struct {
		Issuer    string          `json:"iss"`
		Subject   string          `json:"sub"`
		IssuedAt  int64           `json:"iat"`
		Expires   int64           `json:"exp"`
		Epoch     int64           `json:"epoch,omitempty"`
		Version   int64           `json:"version"`
		NotBefore int64           `json:"not_before,omitempty"`
		Keys      json.RawMessage `json:"keys"`
	}{snap.Issuer, snap.Issuer, now.Unix(), expires.Unix(), epoch, snap.Version, snap.NotBeforeSeconds(), set.Keys})
	if err != nil {
		return nil, err
	}
	signed, err := s.signStatement(ctx, snap, bytes.TrimSuffix(b.Bytes(), []byte("\n")), began)
	if err == nil {
		signed.expires = expires
	}
	return signed, err
}

// currentEpoch returns the number of recoveries of the database, after which versions
// may begin again at smaller ones.
func (s *Signer) currentEpoch(ctx context.Context, tenantID uuid.UUID) (epoch int64, err error) {
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		epoch, err = tx.CurrentEpoch(ctx)
		return err
	})
	return epoch, err
}

// setLifetime is how long a signed set is valid: as long as a cache may serve it that
// fetched it just before it was signed anew.
func setLifetime(snap *snapshot.Snapshot) time.Duration {
	c := snap.Caching
	return HistoryFor + c.MaxAge + max(c.StaleWhileRevalidate, c.StaleIfError) + c.ClockSkew
}
