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

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// HistoryFor is how long a signed history is served. It bounds the cost of requests for
// it and the age of its iat.
const HistoryFor = 5 * time.Minute

// History is a tenant's signed key history at one version.
type History struct {
	JWT  []byte
	ETag string // strong

	version  int64 // of the tenant
	signedAt age.Instant
	expires  time.Time // the exp of a set; zero: a history has none
}

// Version returns the seq of the tenant's last audit event that the document includes.
func (h *History) Version() int64 { return h.version }

// Expires returns the exp of a signed set; zero for a history, which has none.
func (h *History) Expires() time.Time { return h.expires }

// pastKey holds the members that a history adds to a key's JWK (OpenID Federation 1.0
// section 8.7). Times are in seconds since 1970-01-01 UTC.
type pastKey struct {
	IssuedAt  int64       `json:"iat"`           // created or imported
	NotBefore *int64      `json:"nbf,omitempty"` // began to sign
	Expires   int64       `json:"exp"`           // left the JWKS, or leaves it as planned
	Revoked   *revocation `json:"revoked,omitempty"`
}

type revocation struct {
	At     int64       `json:"revoked_at"`
	Reason keys.Reason `json:"reason"`
}

// signHistory signs the history of a tenant. It is a statement of the platform, not a
// caller's token: it works for a suspended tenant too, and records no evidence, or
// reading the history would make a key look used. Errors: tenant.ErrNotFound,
// ErrNoActiveKey, db.ErrUnavailable.
func (s *Signer) signHistory(ctx context.Context, snap *snapshot.Snapshot) (*History, error) {
	now, began := s.cfg.Now(), age.Read(s.cfg.Now)
	payload, err := s.historyPayload(ctx, snap, now)
	if err != nil {
		return nil, err
	}
	return s.signStatement(ctx, snap, payload, began)
}

// signStatement signs a JWT of [tokens.HistoryType] with the key of the default policy
// or, if that has none, of another one. Errors: ErrNoActiveKey, db.ErrUnavailable.
func (s *Signer) signStatement(ctx context.Context, snap *snapshot.Snapshot, payload []byte, began age.Instant) (*History, error) {
	i := slices.IndexFunc(snap.Policies(), func(p snapshot.SigningPolicy) bool { return p.ActiveKID != "" })
	if i < 0 {
		return nil, ErrNoActiveKey
	}
	p := snap.Policies()[i] // the default one, unless it has no active key
	head, err := tokens.Header{KID: p.ActiveKID, Alg: p.Alg, Typ: tokens.HistoryType}.Protect(tokens.Form{})
	if err != nil {
		return nil, err
	}
	private, err := s.privateKey(ctx, keyName{snap.TenantID, p.ActiveKID})
	if err != nil {
		return nil, err
	}
	jws, err := tokens.Sign(private, head, payload, tokens.Form{})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(jws))
	return &History{
		JWT: []byte(jws), ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`, version: snap.Version, signedAt: began,
	}, nil
}

// historyPayload returns the JSON payload of the history.
func (s *Signer) historyPayload(ctx context.Context, snap *snapshot.Snapshot, now time.Time) ([]byte, error) {
	rows, err := s.cfg.DB.PublicKeyHistory(ctx, snap.TenantID)
	if errors.Is(err, db.ErrNoRows) {
		return nil, tenant.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	past := make([]json.RawMessage, 0, len(rows))
	for _, row := range rows {
		jwks, err := pastJWKs(row, now)
		if err != nil {
			return nil, fmt.Errorf("keys: history of tenant %s: key %s: %w", snap.TenantID, row.KID, err)
		}
		past = append(past, jwks...)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // keep the issuer unescaped
	err = enc.Encode(struct {
		Issuer   string            `json:"iss"`
		IssuedAt int64             `json:"iat"`
		Keys     []json.RawMessage `json:"keys"`
	}{snap.Issuer, now.Unix(), past})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// pastJWKs returns the public JWKs as they were published, one for each algorithm of the
// key, with the members of pastKey.
func pastJWKs(row db.PublicKeyHistoryRow, now time.Time) ([]json.RawMessage, error) {
	k := pastKey{IssuedAt: row.CreatedAt.Unix(), NotBefore: unixSeconds(row.ActivatedAt), Expires: removalTime(row, now).Unix()}
	if row.RevokedAt != nil {
		k.Revoked = &revocation{At: row.RevokedAt.Unix(), Reason: keys.Reason(db.ZeroIfNull(row.RevocationReason))}
	}
	members, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	past := keys.Key{KID: row.KID, Alg: jose.SignatureAlgorithm(row.Alg), Algs: snapshot.AlgorithmsOf(row.Algs), PublicJWK: row.PublicJWK}
	jwks, err := past.PublicJWKs()
	for i, full := range jwks {
		jwk := bytes.TrimSuffix(full, []byte("}"))
		if len(jwk) == len(full) || len(jwk) < 2 {
			return nil, keys.ErrKeyMaterial
		}
		jwks[i] = slices.Concat(jwk, []byte(","), members[1:])
	}
	return jwks, err
}

// removalTime returns when a key left the JWKS, or will leave it according to the
// schedule. An active key signs until its rotation; one that is overdue or rotated by
// hand signs at least until now.
func removalTime(row db.PublicKeyHistoryRow, now time.Time) time.Time {
	switch {
	case row.RevokedAt != nil:
		return *row.RevokedAt
	case row.ExpiredAt != nil:
		return *row.ExpiredAt
	case row.ExpiresAt != nil:
		return *row.ExpiresAt
	}
	lastUse := now
	if row.ActivatedAt != nil {
		lastUse = keys.Later(now, row.ActivatedAt.Add(time.Duration(row.RotationIntervalSeconds)*time.Second))
	}
	return lastUse.Add(time.Duration(row.GracePeriodSeconds) * time.Second)
}

func unixSeconds(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	seconds := t.Unix()
	return &seconds
}

// historyCache caches signed key histories, so that requests cannot make Keyward
// sign at will: it signs once per tenant in [HistoryFor] and after each change,
// however many requests come, and few histories at a time.
type historyCache struct {
	sign     func(context.Context, *snapshot.Snapshot) (*History, error)
	signed   *otter.Cache[uuid.UUID, *History]
	inFlight singleflight.Group
	slots    chan struct{}
}

const (
	maxHistoryBytes   = 64 << 20        // of cached histories
	maxHistorySigners = 4               // concurrent signatures
	historyTimeout    = 5 * time.Second // of one signature
	renewWait         = time.Second     // for one that replaces another
)

func newHistoryCache(sign func(context.Context, *snapshot.Snapshot) (*History, error)) *historyCache {
	return &historyCache{
		sign:  sign,
		slots: make(chan struct{}, maxHistorySigners),
		signed: otter.Must(&otter.Options[uuid.UUID, *History]{
			MaximumWeight: maxHistoryBytes,
			Weigher:       func(_ uuid.UUID, h *History) uint32 { return uint32(512 + len(h.JWT)) },
		}),
	}
}

// History returns the signed key history of the snapshot's tenant; stale is the
// snapshot's age. While PostgreSQL is unavailable it returns a history signed before;
// old is then its maximal age, as with [snapshot.Cache.Get]. Errors: tenant.ErrNotFound,
// ErrNoActiveKey, db.ErrUnavailable.
func (s *Signer) History(ctx context.Context, snap *snapshot.Snapshot, stale time.Duration) (h *History, old time.Duration, err error) {
	return s.signedDocument(ctx, s.histories, snap, stale)
}

// signedDocument returns a document of the cache, or signs it.
func (s *Signer) signedDocument(ctx context.Context, c *historyCache, snap *snapshot.Snapshot, stale time.Duration) (h *History, old time.Duration, err error) {
	known, cached := c.signed.GetIfPresent(snap.TenantID)
	if cached {
		now := age.Read(s.cfg.Now)
		if old = known.signedAt.Elapsed(now); known.version == snap.Version && known.signedAt.Within(HistoryFor, now) {
			return known, stale, nil
		}
	}
	if cached && s.cfg.DB.Outage() != nil {
		err = db.ErrUnavailable
	} else {
		h, err = c.signWithin(ctx, snap, cached)
	}
	if cached && errors.Is(err, db.ErrUnavailable) && old < s.cfg.Snapshots.MaxStale() && (known.expires.IsZero() || s.cfg.Now().Before(known.expires)) {
		return known, max(stale, old, time.Second), nil
	}
	return h, stale, err
}

// signWithin signs, and waits for that only briefly if there is an older history.
func (c *historyCache) signWithin(ctx context.Context, snap *snapshot.Snapshot, cached bool) (*History, error) {
	if !cached {
		return c.signShared(ctx, snap)
	}
	brief, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	h, err := c.signShared(brief, snap)
	if err != nil && brief.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("keys: the history cannot be signed in time: %w", db.ErrUnavailable)
	}
	return h, err
}

// signShared signs once for all concurrent callers. It continues when the first caller's
// context ends.
func (c *historyCache) signShared(ctx context.Context, snap *snapshot.Snapshot) (*History, error) {
	version := snap.TenantID.String() + " " + strconv.FormatInt(snap.Version, 10) // a read for an earlier version may be out of date
	done := c.inFlight.DoChan(version, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyTimeout)
		defer cancel()
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		h, err := c.sign(ctx, snap)
		if err == nil {
			c.signed.Set(snap.TenantID, h)
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
