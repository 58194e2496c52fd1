package keys

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Snapshot is all that readers need to know of a tenant at one version: what
// its JWKS says, byte for byte, and which key signs. It never changes and holds
// no secret.
type Snapshot struct {
	TenantID  uuid.UUID
	Slug      string
	Issuer    string
	Domain    string // the tenant's own, empty: none
	Status    tenant.Status
	Caching   tenant.Caching
	NotBefore time.Time // zero: tokens of any age are accepted
	Version   int64     // the seq of the tenant's last audit event

	JWKS         []byte // the JWK Set, RFC 7517 section 5
	ETag         string // strong, RFC 9110 section 8.8.3
	LastModified time.Time
	CacheControl string
	Header       http.Header // that go with JWKS, ready so that answering allocates nothing; not to be changed

	Policies []SigningPolicy // the default one first
	Metadata json.RawMessage // a JSON object: the tenant's own members of its discovery documents; empty: none

	published map[string]*publicKey
	discovery atomic.Pointer[Document]
}

// Document is what is answered of a snapshot.
type Document struct {
	Body []byte
	ETag string // strong, RFC 9110 section 8.8.3
}

// Discovery returns the document that render makes of the snapshot, which then
// is kept with it: a change makes another snapshot. It is not made with the
// snapshot, because few of those who read a JWKS read it too.
func (s *Snapshot) Discovery(render func(*Snapshot) (*Document, error)) (*Document, error) {
	if d := s.discovery.Load(); d != nil {
		return d, nil
	}
	d, err := render(s)
	if err != nil {
		return nil, err
	}
	s.discovery.CompareAndSwap(nil, d)
	return s.discovery.Load(), nil
}

// SigningPolicy is how a tenant signs with one algorithm.
type SigningPolicy struct {
	Alg             jose.SignatureAlgorithm
	Default         bool
	DefaultTokenTTL time.Duration
	MaxTokenTTL     time.Duration
	ActiveKID       string // empty: nothing can sign

	jwt Protected // the header of an ordinary JWT by ActiveKID
}

// publicKey is one key of the JWKS, parsed.
type publicKey struct {
	kid   string
	alg   jose.SignatureAlgorithm
	state State
	key   crypto.PublicKey
}

// newSnapshot renders what the public may know.
func newSnapshot(p db.Public, publicURL string) (*Snapshot, error) {
	t := p.Tenant
	snap := &Snapshot{
		TenantID: t.ID, Slug: t.Slug, Domain: optional(t.CustomDomain), Status: tenant.Status(t.Status), Version: t.AuditSeq,
		Issuer: tenant.Tenant{Slug: t.Slug, OwnIssuer: optional(t.Issuer)}.Issuer(publicURL),
		Caching: tenant.Caching{
			MaxAge:               time.Duration(t.JWKSMaxAgeSeconds) * time.Second,
			StaleWhileRevalidate: time.Duration(t.JWKSStaleWhileRevalidateSeconds) * time.Second,
			StaleIfError:         time.Duration(t.JWKSStaleIfErrorSeconds) * time.Second,
			ClockSkew:            time.Duration(t.ClockSkewSeconds) * time.Second,
		},
		CacheControl: fmt.Sprintf("public, max-age=%d, stale-while-revalidate=%d, stale-if-error=%d",
			t.JWKSMaxAgeSeconds, t.JWKSStaleWhileRevalidateSeconds, t.JWKSStaleIfErrorSeconds),
		LastModified: p.ChangedAt.UTC(), Metadata: t.Metadata,
		published: make(map[string]*publicKey, len(p.Keys)),
	}
	if t.NotBefore != nil {
		snap.NotBefore = *t.NotBefore
	}
	if err := snap.addKeys(p.Keys); err != nil {
		return nil, err
	}
	snap.addPolicies(p.Policies)
	snap.addHeader()
	return snap, nil
}

func (s *Snapshot) addKeys(rows []db.PublishedKeysRow) error {
	members := make([][]byte, len(rows))
	for i, row := range rows {
		public, err := ParsePublicJWK(jose.SignatureAlgorithm(row.Alg), row.PublicJWK)
		if err != nil {
			return fmt.Errorf("keys: public key %s of tenant %s: %w", row.KID, s.TenantID, err)
		}
		members[i] = row.PublicJWK
		s.published[row.KID] = &publicKey{kid: row.KID, alg: jose.SignatureAlgorithm(row.Alg), state: State(row.State), key: public}
	}
	s.JWKS = append(append([]byte(`{"keys":[`), bytes.Join(members, []byte(","))...), "]}"...)
	return nil
}

// EpochHeader tells relying parties, with each JWKS, the tenant's not_before as
// a NumericDate (RFC 7519 section 2): tokens with an earlier iat are refused.
const EpochHeader = "Keyward-Not-Before"

// epoch is what [EpochHeader] says: whole seconds, as iat is, so rounded up;
// empty where tokens of any age are accepted.
func (s *Snapshot) epoch() string {
	if s.NotBefore.IsZero() {
		return ""
	}
	return strconv.FormatInt(s.NotBefore.Add(time.Second-1).Unix(), 10)
}

// addHeader describes the JWKS. The entity tag is of the epoch too: a cache that
// revalidates with 304 would not forget one that was taken back (RFC 9111
// section 3.2 adds and replaces fields, it removes none).
func (s *Snapshot) addHeader() {
	sum := sha256.Sum256(append(bytes.Clone(s.JWKS), s.epoch()...))
	s.ETag = `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
	s.Header = http.Header{
		"Etag": {s.ETag}, "Last-Modified": {s.LastModified.Format(http.TimeFormat)},
		"Cache-Control": {s.CacheControl}, "Content-Length": {strconv.Itoa(len(s.JWKS))},
	}
	if epoch := s.epoch(); epoch != "" {
		s.Header[EpochHeader] = []string{epoch}
	}
}

func (s *Snapshot) addPolicies(rows []db.PublicPoliciesRow) {
	for _, row := range rows {
		p := SigningPolicy{
			Alg: jose.SignatureAlgorithm(row.Alg), Default: row.IsDefault,
			DefaultTokenTTL: time.Duration(row.DefaultTokenTTLSeconds) * time.Second,
			MaxTokenTTL:     time.Duration(row.MaxTokenTTLSeconds) * time.Second,
		}
		for _, k := range s.published {
			if k.alg == p.Alg && k.state == Active {
				p.ActiveKID = k.kid
				p.jwt, _ = Header{KID: k.kid, Alg: p.Alg, Typ: jwtType}.Protect(Form{}) // fails for Extra alone
			}
		}
		s.Policies = append(s.Policies, p)
	}
}

// Algorithms are those a verifier needs: first what is signed with, the default
// first of all, then what published keys of retired policies signed, until the
// last of them has left.
func (s *Snapshot) Algorithms() []jose.SignatureAlgorithm {
	algs := make([]jose.SignatureAlgorithm, 0, len(s.Policies))
	for _, p := range s.Policies {
		algs = append(algs, p.Alg)
	}
	live := len(algs)
	for _, k := range s.published {
		if !slices.Contains(algs, k.alg) {
			algs = append(algs, k.alg)
		}
	}
	slices.Sort(algs[live:])
	return algs
}

// policy finds a live policy; an empty algorithm asks for the default.
func (s *Snapshot) policy(alg jose.SignatureAlgorithm) (SigningPolicy, error) {
	for _, p := range s.Policies {
		if p.Alg == alg || alg == "" && p.Default {
			return p, nil
		}
	}
	return SigningPolicy{}, fmt.Errorf("%w: %s", ErrPolicyNotFound, alg)
}

// weight is what the snapshot costs in memory, about, with its discovery document.
func (s *Snapshot) weight() int {
	return 1024 + 2*len(s.JWKS) + 512*len(s.published) + 2*len(s.Metadata)
}
