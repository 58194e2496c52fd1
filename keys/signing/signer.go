package signing

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
	"github.com/maypok86/otter/v2"
)

// ErrNoActiveKey means that a tenant has no key that signs now.
var ErrNoActiveKey = errors.New("keys: no active key")

// Config is what a Signer needs.
type Config struct {
	DB        *db.DB
	Snapshots *snapshot.Cache
	Custody   *custody.Custody
	Now       func() time.Time
	Log       *slog.Logger
	// MaxKeys bounds the parsed private keys in memory; 0: 100,000.
	MaxKeys int
	// KeyLifetime is how long a parsed private key is kept; 0: 15 minutes.
	KeyLifetime time.Duration
}

// Signer signs with the active keys of tenants, and verifies what they signed.
//
// Which key signs is what the tenant's snapshot says, and only while that is
// known to be the latest: without PostgreSQL signing stops within [keys.FreshFor].
// Once warm, a signature costs no SQL. Private keys are kept parsed, for a
// while, and dropped when anything about their tenant changes.
type Signer struct {
	cfg      Config
	privates *otter.Cache[keyName, keys.Private]
	kids     sync.Map // tenant id → *sync.Map of kids that may be in privates
	evidence evidence
	count    atomic.Int64

	histories *histories
}

// New returns a signer that has opened no key yet.
func New(cfg Config) *Signer {
	if cfg.MaxKeys == 0 {
		cfg.MaxKeys = 100_000
	}
	if cfg.KeyLifetime == 0 {
		cfg.KeyLifetime = 15 * time.Minute
	}
	return &Signer{cfg: cfg, histories: newHistories(), privates: otter.Must(&otter.Options[keyName, keys.Private]{
		MaximumSize:      cfg.MaxKeys,
		ExpiryCalculator: otter.ExpiryWriting[keyName, keys.Private](cfg.KeyLifetime),
	})}
}

// Order asks for a token.
type Order struct {
	tokens.Request
	Alg     jose.SignatureAlgorithm // empty: the default policy's
	Typ     string                  // RFC 7519 section 5.1, not a reserved one; empty: JWT
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

// SignToken signs a JWT for the tenant with that slug or id. Errors:
// *tokens.ClaimError, keys.ErrPolicyNotFound, tenant.ErrNotFound, tenant.ErrSuspended,
// ErrNoActiveKey, db.ErrUnavailable.
func (s *Signer) SignToken(ctx context.Context, ref string, o Order) (token Token, err error) {
	err = s.atDesk(ctx, ref, func(d desk) (err error) {
		token, err = s.signToken(ctx, d, o)
		return err
	})
	return token, err
}

// atDesk signs. If the active key has just stopped being that and this process
// has not heard yet, it looks again and signs with the next one.
func (s *Signer) atDesk(ctx context.Context, ref string, sign func(desk) error) error {
	d, err := s.desk(ctx, ref)
	if err != nil {
		return err
	}
	if err = sign(d); !errors.Is(err, ErrNoActiveKey) {
		return err
	}
	s.cfg.Snapshots.Changed(d.TenantID, d.Slug)
	if d, err = s.desk(ctx, ref); err != nil {
		return err
	}
	return sign(d)
}

// SignTokens calls do for every i below n, on all cores, with what signs a token
// there: one that is refused fails alone. All have the time of the call. The
// error is one that concerns them all; do has not been called then.
func (s *Signer) SignTokens(ctx context.Context, ref string, n int, do func(i int, sign SignFunc)) error {
	d, err := s.desk(ctx, ref)
	if err != nil {
		return err
	}
	sign := func(o Order) (Token, error) {
		token, err := s.signToken(ctx, d, o)
		if errors.Is(err, ErrNoActiveKey) {
			return s.SignToken(ctx, ref, o)
		}
		return token, err
	}
	inParallel(n, func(i int) { do(i, sign) })
	return nil
}

// desk is a tenant that may sign, at one time.
type desk struct {
	*snapshot.Snapshot
	now time.Time
}

func (s *Signer) desk(ctx context.Context, ref string) (desk, error) {
	snap, err := s.cfg.Snapshots.Fresh(ctx, ref)
	if err != nil {
		return desk{}, err
	}
	if snap.Status != tenant.Active {
		return desk{}, tenant.ErrSuspended
	}
	return desk{snap, s.cfg.Now()}, nil
}

func (d desk) rules(p snapshot.SigningPolicy) tokens.Rules {
	return tokens.Rules{
		Issuer: d.Issuer, Now: d.now, Skew: d.Caching.ClockSkew, DefaultTTL: p.DefaultTokenTTL, MaxTTL: p.MaxTokenTTL,
	}
}

func (s *Signer) signToken(ctx context.Context, d desk, o Order) (Token, error) {
	if err := tokens.CheckType(o.Typ); err != nil {
		return Token{}, err
	}
	p, err := d.Policy(o.Alg)
	if err != nil {
		return Token{}, err
	}
	claims, err := d.rules(p).Claims(o.Request)
	if err != nil {
		return Token{}, err
	}
	jws, err := s.sign(ctx, d, p, tokens.Header{Typ: cmp.Or(o.Typ, tokens.TypeJWT), Extra: o.Headers}, claims.Payload, tokens.Form{}, claims.ExpiresAt)
	return Token{Token: jws, KID: p.ActiveKID, Alg: p.Alg, IssuedAt: claims.IssuedAt, ExpiresAt: claims.ExpiresAt}, err
}

// sign makes the JWS and leaves the evidence of it.
func (s *Signer) sign(ctx context.Context, d desk, p snapshot.SigningPolicy, h tokens.Header, payload []byte, f tokens.Form, expires time.Time) (string, error) {
	if p.ActiveKID == "" {
		return "", ErrNoActiveKey
	}
	head, err := p.Protect(h, f)
	if err != nil {
		return "", err
	}
	name := keyName{d.TenantID, p.ActiveKID}
	private, err := s.private(ctx, name)
	if err != nil {
		return "", err
	}
	jws, err := tokens.Sign(private, head, payload, f)
	if err != nil {
		return "", err
	}
	s.evidence.add(name, d.now, expires)
	s.count.Add(1)
	return jws, nil
}

// FlushEvidence writes down what was signed since the last time. It is called
// at least every minute, and before the process ends.
func (s *Signer) FlushEvidence(ctx context.Context) error { return s.evidence.flush(ctx, s.cfg.DB) }

// Signatures counts what was signed since the start.
func (s *Signer) Signatures() int64 { return s.count.Load() }

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

// PayloadOrder asks for a JWS over any payload.
type PayloadOrder struct {
	Payload []byte
	Alg     jose.SignatureAlgorithm // empty: the default policy's
	Typ     string                  // empty: no typ
	Form    tokens.Form
}

// SignedPayload is a compact JWS.
type SignedPayload struct {
	JWS string
	KID string
	Alg jose.SignatureAlgorithm
}

// SignPayload signs a payload. One that is a JSON object with an exp is held
// to the rules of a token. A reserved typ is refused. Errors: those of
// SignToken.
func (s *Signer) SignPayload(ctx context.Context, ref string, o PayloadOrder) (signed SignedPayload, err error) {
	if err := tokens.CheckType(o.Typ); err != nil {
		return SignedPayload{}, err
	}
	err = s.atDesk(ctx, ref, func(d desk) (err error) {
		signed, err = s.signPayload(ctx, d, o)
		return err
	})
	return signed, err
}

func (s *Signer) signPayload(ctx context.Context, d desk, o PayloadOrder) (SignedPayload, error) {
	p, err := d.Policy(o.Alg)
	if err != nil {
		return SignedPayload{}, err
	}
	exp, err := d.rules(p).CheckPayload(o.Payload)
	if err != nil {
		return SignedPayload{}, err
	}
	var expires time.Time
	if exp != nil {
		expires = *exp
	}
	jws, err := s.sign(ctx, d, p, tokens.Header{Typ: o.Typ}, o.Payload, o.Form, expires)
	return SignedPayload{JWS: jws, KID: p.ActiveKID, Alg: p.Alg}, err
}
