package signing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// HistoryFor is how long a signed history is served. It bounds what asking for
// it costs, and how old its iat is.
const HistoryFor = 5 * time.Minute

// History is a tenant's signed key history at one version.
type History struct {
	JWT  []byte
	ETag string // strong

	version  int64 // of the tenant
	signedAt time.Time
}

// pastKey is what a history says of a key beside its JWK (OpenID Federation 1.0
// section 8.7). Times are in seconds since 1970-01-01 UTC.
type pastKey struct {
	IssuedAt  int64       `json:"iat"`           // made or imported
	NotBefore *int64      `json:"nbf,omitempty"` // began to sign
	Expires   int64       `json:"exp"`           // left the JWKS, or leaves it as planned
	Revoked   *revocation `json:"revoked,omitempty"`
}

type revocation struct {
	At     int64       `json:"revoked_at"`
	Reason keys.Reason `json:"reason"`
}

// signHistory makes the history of a tenant. It is the platform's own word, not
// a caller's: a suspended tenant has one too, and no evidence is left of the
// signature, or asking for it would make a key look used. Errors:
// tenant.ErrNotFound, ErrNoActiveKey, db.ErrUnavailable.
func (s *Signer) signHistory(ctx context.Context, snap *snapshot.Snapshot) (*History, error) {
	now := s.cfg.Now()
	payload, err := s.history(ctx, snap, now)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(snap.Policies, func(p snapshot.SigningPolicy) bool { return p.ActiveKID != "" })
	if i < 0 {
		return nil, ErrNoActiveKey
	}
	p := snap.Policies[i] // the default one, if it can
	head, err := tokens.Header{KID: p.ActiveKID, Alg: p.Alg, Typ: tokens.HistoryType}.Protect(tokens.Form{})
	if err != nil {
		return nil, err
	}
	private, err := s.private(ctx, keyName{snap.TenantID, p.ActiveKID})
	if err != nil {
		return nil, err
	}
	jws, err := tokens.Sign(private, head, payload, tokens.Form{})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(jws))
	return &History{
		JWT: []byte(jws), ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`, version: snap.Version, signedAt: now,
	}, nil
}

// history is the payload.
func (s *Signer) history(ctx context.Context, snap *snapshot.Snapshot, now time.Time) ([]byte, error) {
	rows, err := s.cfg.DB.PublicKeyHistory(ctx, snap.TenantID)
	if errors.Is(err, db.ErrNoRows) {
		return nil, tenant.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	past := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		if past[i], err = pastJWK(row, now); err != nil {
			return nil, fmt.Errorf("keys: history of tenant %s: key %s: %w", snap.TenantID, row.KID, err)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the issuer stays as it is
	err = enc.Encode(struct {
		Issuer   string            `json:"iss"`
		IssuedAt int64             `json:"iat"`
		Keys     []json.RawMessage `json:"keys"`
	}{snap.Issuer, now.Unix(), past})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// pastJWK is the public JWK as it was published, and what became of the key.
func pastJWK(row db.PublicKeyHistoryRow, now time.Time) (json.RawMessage, error) {
	k := pastKey{IssuedAt: row.CreatedAt.Unix(), NotBefore: unix(row.ActivatedAt), Expires: leaves(row, now).Unix()}
	if row.RevokedAt != nil {
		k.Revoked = &revocation{At: row.RevokedAt.Unix(), Reason: keys.Reason(db.ZeroIfNull(row.RevocationReason))}
	}
	members, err := json.Marshal(k)
	jwk := bytes.TrimSuffix(row.PublicJWK, []byte("}"))
	if len(jwk) == len(row.PublicJWK) || len(jwk) < 2 {
		return nil, keys.ErrKeyMaterial
	}
	return slices.Concat(jwk, []byte(","), members[1:]), err
}

// leaves is when a key left the JWKS or, of one that is still there, when it
// will as far as is planned: one that still signs does so until its rotation,
// and one that is overdue or rotated by hand at least until now.
func leaves(row db.PublicKeyHistoryRow, now time.Time) time.Time {
	switch {
	case row.RevokedAt != nil:
		return *row.RevokedAt
	case row.ExpiredAt != nil:
		return *row.ExpiredAt
	case row.ExpiresAt != nil:
		return *row.ExpiresAt
	}
	stops := now
	if row.ActivatedAt != nil {
		stops = keys.Later(now, row.ActivatedAt.Add(time.Duration(row.RotationIntervalSeconds)*time.Second))
	}
	return stops.Add(time.Duration(row.GracePeriodSeconds) * time.Second)
}

func unix(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	seconds := t.Unix()
	return &seconds
}

// histories are the signed key histories that are served from memory, so that
// nobody can make Keyward sign by asking: one signature per tenant in
// [HistoryFor] and for each change, however many ask, and few at a time.
type histories struct {
	signed  *otter.Cache[uuid.UUID, *History]
	flights singleflight.Group
	turn    chan struct{}
}

const (
	historyBytes   = 64 << 20        // of histories in memory
	historySigners = 4               // at a time
	historyTime    = 5 * time.Second // for one
)

func newHistories() *histories {
	return &histories{
		turn: make(chan struct{}, historySigners),
		signed: otter.Must(&otter.Options[uuid.UUID, *History]{
			MaximumWeight: historyBytes,
			Weigher:       func(_ uuid.UUID, h *History) uint32 { return uint32(512 + len(h.JWT)) },
		}),
	}
}

// History returns the signed key history of the tenant of a snapshot that is
// as old as stale. While PostgreSQL is away one that was signed before is
// served; old is then how old it may be, as with [snapshot.Cache.Get]. Errors:
// tenant.ErrNotFound, ErrNoActiveKey, db.ErrUnavailable.
func (s *Signer) History(ctx context.Context, snap *snapshot.Snapshot, stale time.Duration) (h *History, old time.Duration, err error) {
	known, cached := s.histories.signed.GetIfPresent(snap.TenantID)
	age := time.Duration(0)
	if cached {
		if age = s.cfg.Now().Sub(known.signedAt); known.version == snap.Version && age < HistoryFor {
			return known, stale, nil
		}
	}
	h, err = s.historyOf(ctx, snap)
	if cached && errors.Is(err, db.ErrUnavailable) && age < s.cfg.Snapshots.MaxStale() {
		return known, max(stale, age, time.Second), nil
	}
	return h, stale, err
}

// historyOf signs once for everybody who asks meanwhile. It goes on when the
// one who asked first goes away.
func (s *Signer) historyOf(ctx context.Context, snap *snapshot.Snapshot) (*History, error) {
	version := snap.TenantID.String() + " " + strconv.FormatInt(snap.Version, 10) // what is read for an earlier one may be old
	done := s.histories.flights.DoChan(version, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyTime)
		defer cancel()
		select {
		case s.histories.turn <- struct{}{}:
			defer func() { <-s.histories.turn }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		h, err := s.signHistory(ctx, snap)
		if err == nil {
			s.histories.signed.Set(snap.TenantID, h)
		}
		return h, err
	})
	select {
	case r := <-done:
		h, _ := r.Val.(*History)
		return h, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
