package signing

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// ErrNoActiveKey means that a tenant has no key that can sign now.
var ErrNoActiveKey = errors.New("keys: no active key")

// Config configures a [Signer].
type Config struct {
	DB        *db.DB
	Snapshots *snapshot.Cache
	Custody   *custody.Custody
	Now       func() time.Time
	Log       *slog.Logger
	// MaxKeys bounds the parsed private keys in memory; 0: 100,000. An ML-DSA key
	// counts as [expandedWeight] keys.
	MaxKeys int
	// KeyLifetime is how long a parsed private key is cached; 0: 15 minutes.
	KeyLifetime time.Duration
	// ExpiredTokens allows orders for tokens that have expired already; see
	// [tokens.Rules]. For development alone.
	ExpiredTokens bool
}

// Signer signs with the active keys of tenants and verifies their tokens.
//
// The tenant's snapshot selects the key, and only while it is known to be the latest:
// without PostgreSQL signing stops within [keys.FreshFor]. Once the caches are filled, a
// signature costs no SQL. Parsed private keys are cached for KeyLifetime and dropped
// when their tenant changes.
type Signer struct {
	cfg        Config
	privates   *otter.Cache[keyName, keys.Private]
	cachedKIDs sync.Map // tenant id → *sync.Map of kids that may be in privates
	turns      *turns
	evidence   evidence
	count      atomic.Int64

	histories *historyCache
	sets      *historyCache
}

// New returns a signer with empty caches.
func New(cfg Config) *Signer {
	if cfg.MaxKeys == 0 {
		cfg.MaxKeys = 100_000
	}
	if cfg.KeyLifetime == 0 {
		cfg.KeyLifetime = 15 * time.Minute
	}
	s := &Signer{cfg: cfg, turns: newTurns(), privates: otter.Must(&otter.Options[keyName, keys.Private]{
		MaximumWeight:    uint64(cfg.MaxKeys),
		Weigher:          weighPrivate,
		ExpiryCalculator: otter.ExpiryWriting[keyName, keys.Private](cfg.KeyLifetime),
	})}
	s.histories, s.sets = newHistoryCache(s.signHistory), newHistoryCache(s.signSet)
	return s
}

// expandedWeight is how many other private keys take the memory of one of ML-DSA,
// which is kept expanded: 90 kB whatever its parameter set.
const expandedWeight = 32

func weighPrivate(_ keyName, p keys.Private) uint32 {
	if keys.KeyType(p.Alg()) == "AKP" {
		return expandedWeight
	}
	return 1
}

// Order requests a token.
type Order struct {
	tokens.Request
	Alg     jose.SignatureAlgorithm // empty: the default policy's
	Typ     string                  // RFC 7519 section 5.1, not a reserved one; empty: the profile's, or JWT
	Headers map[string]json.RawMessage
}

// Token is a signed JWT.
type Token struct {
	Token     string
	KID       string
	Alg       jose.SignatureAlgorithm
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// SignFunc signs a JWT. Errors are those of [Signer.SignToken].
type SignFunc func(Order) (Token, error)

// SignToken signs a JWT for the tenant with this slug or id. Errors: *tokens.ClaimError,
// keys.ErrPolicyNotFound, tenant.ErrNotFound, tenant.ErrSuspended, ErrNoActiveKey,
// db.ErrUnavailable, *OverloadError.
func (s *Signer) SignToken(ctx context.Context, ref string, o Order) (token Token, err error) {
	err = s.signWithRetry(ctx, ref, func(d session) (err error) {
		token, err = s.signToken(ctx, d, o)
		return err
	})
	return token, err
}

// maxSignAttempts bounds how many rotations a single signature may meet.
const maxSignAttempts = 5

// signWithRetry calls sign, and again with a newer snapshot, if there is one, when the
// active key has just stopped signing and this process was not notified yet.
func (s *Signer) signWithRetry(ctx context.Context, ref string, sign func(session) error) error {
	tried := int64(-1)
	for attempt := 1; ; attempt++ {
		d, err := s.openSession(ctx, ref)
		if err != nil {
			return err
		}
		if err = sign(d); !errors.Is(err, ErrNoActiveKey) || d.Version == tried || attempt == maxSignAttempts {
			return err
		}
		tried = d.Version
		s.cfg.Snapshots.Changed(d.TenantID, d.Slug)
	}
}

// SignTokens calls do(i, sign) for i in [0,n) on all cores. All tokens get the same iat.
// An error from sign concerns that token only; a returned error means that do was never
// called.
func (s *Signer) SignTokens(ctx context.Context, ref string, n int, do func(i int, sign SignFunc)) error {
	d, err := s.openSession(ctx, ref)
	if err != nil {
		return err
	}
	d.patient = true
	sign := func(o Order) (Token, error) {
		token, err := s.signToken(ctx, d, o)
		if errors.Is(err, ErrNoActiveKey) {
			return s.SignToken(ctx, ref, o)
		}
		return token, err
	}
	runParallel(n, func(i int) { do(i, sign) })
	return nil
}

// session is a tenant that may sign, and the time of the signature.
type session struct {
	*snapshot.Snapshot
	now     time.Time
	patient bool // has begun a batch, of which nothing is refused for the load
	expired bool // tokens may have expired; see Config.ExpiredTokens
}

// openSession returns the tenant's fresh snapshot if the tenant may sign. Errors:
// tenant.ErrNotFound, tenant.ErrSuspended, db.ErrUnavailable, db.ErrClock.
func (s *Signer) openSession(ctx context.Context, ref string) (session, error) {
	if err := s.cfg.DB.CheckClock(); err != nil {
		return session{}, err
	}
	snap, err := s.cfg.Snapshots.Fresh(ctx, ref)
	if err != nil {
		return session{}, err
	}
	if snap.Status != tenant.Active {
		return session{}, tenant.ErrSuspended
	}
	return session{Snapshot: snap, now: s.cfg.Now(), expired: s.cfg.ExpiredTokens}, nil
}

func (d session) tokenRules(p snapshot.SigningPolicy) tokens.Rules {
	return tokens.Rules{
		Issuer: d.Issuer, Now: d.now, Skew: d.Caching.ClockSkew, DefaultTTL: p.DefaultTokenTTL, MaxTTL: p.MaxTokenTTL, Expired: d.expired,
	}
}

func (s *Signer) signToken(ctx context.Context, d session, o Order) (Token, error) {
	if err := tokens.CheckType(o.Typ); err != nil {
		return Token{}, err
	}
	if err := d.checkEventType(o.Typ); err != nil {
		return Token{}, err
	}
	typ, err := o.Profile.Type(o.Typ)
	if err != nil {
		return Token{}, err
	}
	p, err := d.Policy(o.Alg)
	if err != nil {
		return Token{}, err
	}
	claims, err := d.tokenRules(p).Claims(o.Request)
	if err != nil {
		return Token{}, err
	}
	jws, err := s.signJWS(ctx, d, p, tokens.Header{Typ: typ, Extra: o.Headers}, claims.Payload, tokens.Form{}, claims.ExpiresAt)
	return Token{Token: jws, KID: p.ActiveKID, Alg: p.Alg, IssuedAt: claims.IssuedAt, ExpiresAt: claims.ExpiresAt}, err
}

// signJWS creates the JWS and records the evidence.
func (s *Signer) signJWS(ctx context.Context, d session, p snapshot.SigningPolicy, h tokens.Header, payload []byte, f tokens.Form, expires time.Time) (string, error) {
	if p.ActiveKID == "" {
		return "", ErrNoActiveKey
	}
	head, err := p.Protect(h, f)
	if err != nil {
		return "", err
	}
	return s.signProtected(ctx, d, p, head, payload, f, expires)
}

// signProtected is signJWS with an encoded header.
func (s *Signer) signProtected(ctx context.Context, d session, p snapshot.SigningPolicy, head tokens.Protected, payload []byte, f tokens.Form, expires time.Time) (string, error) {
	name := keyName{d.TenantID, p.ActiveKID}
	private, err := s.privateKey(ctx, name)
	if err != nil {
		return "", err
	}
	jws, err := s.signInTurn(ctx, d, private, head, payload, f)
	if err != nil {
		return "", err
	}
	s.evidence.add(name, d.now, expires)
	s.count.Add(1)
	return jws, nil
}

func (s *Signer) signInTurn(ctx context.Context, d session, private keys.Private, h tokens.Protected, payload []byte, f tokens.Form) (string, error) {
	turn, err := s.turns.take(ctx, d.TenantID, work{alg: string(private.Alg())}, d.patient)
	if err != nil {
		return "", err
	}
	defer s.turns.giveBack(turn)
	return tokens.Sign(private, h, payload, f)
}

// CheckLoad reports early whether a tenant's next signature or verification would be
// refused. Errors: *OverloadError.
func (s *Signer) CheckLoad(tenantID uuid.UUID) error { return s.turns.check(tenantID) }

// FlushEvidence writes the signatures since the last flush to the database. Call it at
// least every minute, and before the process ends.
func (s *Signer) FlushEvidence(ctx context.Context) error { return s.evidence.flush(ctx, s.cfg.DB) }

// Signatures counts the signatures since the start.
func (s *Signer) Signatures() int64 { return s.count.Load() }

// Refused counts the signatures and verifications refused with *OverloadError.
func (s *Signer) Refused() int64 { return s.turns.refused.Load() }

// runParallel calls do for every i below n on all cores.
func runParallel(n int, do func(i int)) {
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
