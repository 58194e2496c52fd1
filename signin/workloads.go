package signin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/tenant"
)

// workloadAlgorithms are those of SPIFFE (JWT-SVID section 3), which Kubernetes and GitHub
// use too, and Ed25519.
var workloadAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jwks.Ed25519,
}

// workloadTypes are the values of typ: Kubernetes has none, SPIFFE may have JOSE.
var workloadTypes = []string{"", "JWT", "JOSE", "at+jwt"}

// Limits of the issuers of workloads, which tenants choose.
const (
	maxVerifiers       = 1000     // in memory, with the keys of their issuers
	maxTenantVerifiers = 20       // of one tenant
	maxWorkloadSet     = 64 << 10 // bytes of a JWK Set
	maxWorkloadKeys    = 50       // in a set
	maxWorkloadToken   = 16 << 10 // bytes
)

// WorkloadsConfig configures Workloads. Identities and HTTPClient are required.
type WorkloadsConfig struct {
	// Identities returns the workload identities of a tenant in the order in which they
	// are tried: [tenant.Store.WorkloadsOf].
	Identities func(ctx context.Context, tenantID uuid.UUID) ([]tenant.WorkloadIdentity, error)
	// Used, if not nil, is called with the identity by which a token signed in:
	// [tenant.Store.NoteWorkload].
	Used func(tenant.WorkloadIdentity)
	// HTTPClient fetches the keys of issuers that tenants name: it must refuse addresses
	// that they must not reach, and plain http where that is not allowed.
	HTTPClient *http.Client
	Now        func() time.Time // nil: time.Now
	Log        *slog.Logger     // nil: no log; tokens are never logged
}

// Workloads authenticates workloads by tokens of their own platforms. Only issuers of
// the tenant's identities are ever asked for keys, and no tenant uses the keys that
// another's identity names. It is safe for concurrent use.
type Workloads struct {
	cfg WorkloadsConfig

	mu        sync.Mutex
	verifiers map[verifierKey]*workloadVerifier
	uses      int64

	accepted, refused, unavailable atomic.Int64
}

// verifierKey is what a verifier depends on.
type verifierKey struct {
	tenantID                  uuid.UUID
	issuer, audience, jwksURI string
}

type workloadVerifier struct {
	*jwks.Verifier
	used int64
}

// NewWorkloads returns Workloads. It sends no request.
func NewWorkloads(cfg WorkloadsConfig) *Workloads {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Used == nil {
		cfg.Used = func(tenant.WorkloadIdentity) {}
	}
	return &Workloads{cfg: cfg, verifiers: map[verifierKey]*workloadVerifier{}}
}

// Counts returns how many tokens were accepted, refused, and could not be verified for
// lack of the issuer's keys or of the database.
func (s *Workloads) Counts() (accepted, refused, unavailable int64) {
	return s.accepted.Load(), s.refused.Load(), s.unavailable.Load()
}

// Principal returns the principal of a workload's token in a tenant. The oldest identity
// that the token meets decides. Errors: tenant.ErrUnauthenticated if there is none,
// whatever the reason; tenant.ErrNoIdentityProvider if an issuer's keys are unavailable;
// those of Config.Identities.
func (s *Workloads) Principal(ctx context.Context, tenantID uuid.UUID, token string) (tenant.Principal, error) {
	p, err := s.principal(ctx, tenantID, token)
	switch {
	case err == nil:
		s.accepted.Add(1)
	case errors.Is(err, tenant.ErrUnauthenticated):
		s.refused.Add(1)
	default:
		s.unavailable.Add(1)
	}
	return p, err
}

func (s *Workloads) principal(ctx context.Context, tenantID uuid.UUID, token string) (tenant.Principal, error) {
	claimed, ok := readUnverified(token)
	if !ok || len(claimed.audience) != 1 {
		return tenant.Principal{}, fmt.Errorf("%w: not a token for one audience", tenant.ErrUnauthenticated)
	}
	list, err := s.cfg.Identities(ctx, tenantID)
	if err != nil {
		return tenant.Principal{}, err
	}
	refusal := fmt.Errorf("%w: no workload identity for its issuer and audience", tenant.ErrUnauthenticated)
	for _, w := range list {
		if w.Issuer != claimed.issuer || w.Audience != claimed.audience[0] || w.Expired(s.cfg.Now()) {
			continue
		}
		subject, err := "", errIssuedHere
		if !w.IssuedHere {
			subject, err = s.verify(ctx, w, token)
		}
		if err == nil {
			s.cfg.Used(w)
			return tenant.Principal{Actor: w.Actor(subject), Role: w.Role, TenantID: &w.TenantID}, nil
		}
		s.cfg.Log.Debug("workload token refused", "tenant_id", tenantID, "workload_identity", w.ID, "reason", err)
		if errors.Is(refusal, tenant.ErrUnauthenticated) { // that keys are missing is worth more
			refusal = err
		}
	}
	return tenant.Principal{}, refusal
}

// verify returns the subject of a token that meets an identity.
func (s *Workloads) verify(ctx context.Context, w tenant.WorkloadIdentity, token string) (subject string, err error) {
	v, err := s.verifier(w)
	if err != nil {
		return "", fmt.Errorf("%w: %w", tenant.ErrUnauthenticated, err)
	}
	t, err := v.Verify(ctx, token)
	if err != nil {
		return "", classifyError(ctx, err)
	}
	c, err := jwks.Claims[claims](t)
	if err == nil {
		err = meets(w, t, c, s.cfg.Now())
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", tenant.ErrUnauthenticated, err)
	}
	return t.Subject, nil
}

// errIssuedHere refuses the tokens that this service signs: a tenant's signers would have
// the role of whoever trusts its issuer.
var errIssuedHere = fmt.Errorf("%w: its issuer is one of this service", tenant.ErrUnauthenticated)

// Reasons to refuse a token whose signature is right.
var (
	errSeveralAudiences = errors.New("it is for other audiences too, each of which could use it here")
	errSubject          = errors.New("sub is malformed")
	errTokenLifetime    = errors.New("it lives longer than max_token_lifetime_seconds")
)

// meets returns why a verified token does not meet an identity, or nil.
func meets(w tenant.WorkloadIdentity, t *jwks.Token, c claims, now time.Time) error {
	switch {
	case len(t.Audience) != 1 || t.Audience[0] != w.Audience:
		return errSeveralAudiences
	case !isSubject(t.Subject):
		return errSubject
	case t.Expiry.Sub(now) > w.MaxTokenLifetime+skew, !t.IssuedAt.IsZero() && t.Expiry.Sub(t.IssuedAt) > w.MaxTokenLifetime:
		return errTokenLifetime
	case len(w.Rules) == 0:
		return errors.New("the identity has no rule")
	}
	for _, r := range w.Rules {
		if !slices.ContainsFunc(c.textValues(r.Claim), r.Holds) {
			return fmt.Errorf("the rule about %s does not hold", r.Claim)
		}
	}
	return nil
}

// verifier returns the verifier of an identity's tokens from memory, or a new one.
func (s *Workloads) verifier(w tenant.WorkloadIdentity) (*jwks.Verifier, error) {
	key := verifierKey{w.TenantID, w.Issuer, w.Audience, w.JWKSURI}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	if known, ok := s.verifiers[key]; ok {
		known.used = s.uses
		return known.Verifier, nil
	}
	v, err := s.newVerifier(w)
	if err != nil {
		return nil, err
	}
	s.makeRoom(w.TenantID)
	s.verifiers[key] = &workloadVerifier{v, s.uses}
	return v, nil
}

func (s *Workloads) newVerifier(w tenant.WorkloadIdentity) (*jwks.Verifier, error) {
	from := jwks.Config{
		HTTPClient: s.cfg.HTTPClient, Timeout: issuerTimeout, MaxBody: maxWorkloadSet, MaxKeys: maxWorkloadKeys,
		AllowHTTP: true, // the HTTP client refuses it where it is not allowed
		Logger:    s.cfg.Log, Now: s.cfg.Now, URL: w.JWKSURI,
	}
	if w.JWKSURI == "" {
		from.Issuer = w.Issuer
	}
	keys, err := jwks.New(from)
	if err != nil {
		return nil, err
	}
	return jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: w.Issuer, Client: keys, Audience: []string{w.Audience}, Algorithms: workloadAlgorithms, Types: workloadTypes, Skew: skew,
		Required: []string{"sub"}, Validate: noIDToken, MaxSize: maxWorkloadToken, Now: s.cfg.Now,
	})
}

// makeRoom drops the verifiers that were used least recently: of the tenant if it has its
// share, so that it pushes out no other's, and of all.
func (s *Workloads) makeRoom(tenantID uuid.UUID) {
	drop := func(most int, counts func(verifierKey) bool) {
		var oldest verifierKey
		n, used := 0, s.uses+1
		for key, v := range s.verifiers {
			if !counts(key) {
				continue
			}
			if n++; v.used < used {
				oldest, used = key, v.used
			}
		}
		if n >= most {
			delete(s.verifiers, oldest)
		}
	}
	drop(maxTenantVerifiers, func(k verifierKey) bool { return k.tenantID == tenantID })
	drop(maxVerifiers, func(verifierKey) bool { return true })
}

// unverified is what a token says of itself, to find who could verify it.
type unverified struct {
	issuer   string
	audience []string
}

// readUnverified reads a token in the compact form without its signature.
func readUnverified(token string) (u unverified, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxWorkloadToken {
		return u, false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c claims
	if err != nil || json.Unmarshal(text, &c) != nil {
		return u, false
	}
	if json.Unmarshal(c["iss"], &u.issuer) != nil {
		return u, false
	}
	u.audience = c.textValues("aud")
	return u, true
}

// Issued reports whether a token says that the operator's identity provider issued it.
func (s *SignIn) Issued(token string) bool {
	u, ok := readUnverified(token)
	return ok && u.issuer == s.cfg.Issuer
}

// Issuer returns the operator's identity provider.
func (s *SignIn) Issuer() string { return s.cfg.Issuer }
