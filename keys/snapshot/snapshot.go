package snapshot

import (
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
	"unsafe"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// Snapshot is all that readers need to know of a tenant at one version: what
// its JWKS says, byte for byte, and which key signs. It never changes and holds
// no secret.
type Snapshot struct {
	// What answering for a JWKS reads comes first and lies together: with many
	// tenants, every line of memory is one to wait for.
	entry entry // that it is remembered by

	JWKS []byte // the JWK Set, RFC 7517 section 5

	// What goes with JWKS, as header fields are kept: answering allocates nothing.
	etag, modified, caching, length [1]string
	epochs                          []string

	TenantID  uuid.UUID
	Slug      string
	Issuer    string
	Domain    string // the tenant's own, empty: none
	Status    tenant.Status
	Caching   tenant.Caching
	NotBefore time.Time // zero: tokens of any age are accepted
	Version   int64     // the seq of the tenant's last audit event

	Policies []SigningPolicy // the default one first
	Metadata json.RawMessage // a JSON object: the tenant's own members of its discovery documents; empty: none

	published []publicKey
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

	jwt tokens.Protected // the header of an ordinary JWT by ActiveKID
}

// protect encodes a header for the active key; that of most tokens is ready.
func (p SigningPolicy) Protect(h tokens.Header, f tokens.Form) (tokens.Protected, error) {
	if h.Typ == tokens.TypeJWT && len(h.Extra) == 0 && f == (tokens.Form{}) {
		return p.jwt, nil
	}
	h.KID, h.Alg = p.ActiveKID, p.Alg
	return h.Protect(f)
}

// publicKey is one key of the JWKS.
type publicKey struct {
	kid    string
	alg    jose.SignatureAlgorithm
	state  keys.State
	jwk    []byte                           // a part of the JWKS
	parsed atomic.Pointer[crypto.PublicKey] // once somebody verified with it
}

// public is the key parsed. Errors: those of [keys.ParsePublicJWK].
func (k *publicKey) public() (crypto.PublicKey, error) {
	if parsed := k.parsed.Load(); parsed != nil {
		return *parsed, nil
	}
	public, err := keys.ParsePublicJWK(k.alg, k.jwk)
	if err == nil {
		k.parsed.Store(&public)
	}
	return public, err
}

// key finds a published key, nil if there is none by that kid.
func (s *Snapshot) key(kid string) *publicKey {
	for i := range s.published {
		if s.published[i].kid == kid {
			return &s.published[i]
		}
	}
	return nil
}

// Find returns the published key of that kid, its public key parsed; found is
// false if there is none. Errors: those of [keys.ParsePublicJWK].
func (s *Snapshot) Find(kid string) (k tokens.VerificationKey, found bool, err error) {
	p := s.key(kid)
	if p == nil {
		return tokens.VerificationKey{}, false, nil
	}
	public, err := p.public()
	return tokens.VerificationKey{Key: keys.Key{TenantID: s.TenantID, KID: kid, Alg: p.alg, State: p.state}, Public: public}, true, err
}

// newSnapshot is what was read of a tenant, ready to be served.
func newSnapshot(p db.Public, publicURL string) (*Snapshot, error) {
	t := p.Tenant
	snap := &Snapshot{
		TenantID: t.ID, Slug: t.Slug, Domain: db.ZeroIfNull(t.CustomDomain), Status: tenant.Status(t.Status), Version: t.AuditSeq,
		Issuer: tenant.Tenant{Slug: t.Slug, OwnIssuer: db.ZeroIfNull(t.Issuer)}.Issuer(publicURL),
		Caching: tenant.Caching{
			MaxAge:               time.Duration(t.JWKSMaxAgeSeconds) * time.Second,
			StaleWhileRevalidate: time.Duration(t.JWKSStaleWhileRevalidateSeconds) * time.Second,
			StaleIfError:         time.Duration(t.JWKSStaleIfErrorSeconds) * time.Second,
			ClockSkew:            time.Duration(t.ClockSkewSeconds) * time.Second,
		},
		Metadata: t.Metadata,
	}
	if t.NotBefore != nil {
		snap.NotBefore = *t.NotBefore
	}
	set, err := setOf(p)
	if err != nil {
		return nil, err
	}
	return snap, snap.takeSet(set)
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

// addHeader describes the JWKS, and moves it behind the slug that it is found by
// and the fields that describe it: memory that is read in one go. The entity tag
// is of the epoch too: a cache that revalidates with 304 would not forget one
// that was taken back (RFC 9111 section 3.2 adds and replaces fields, it removes
// none).
func (s *Snapshot) addHeader(changedAt time.Time) {
	hash := sha256.New()
	hash.Write(s.JWKS)
	if epoch := s.epoch(); epoch != "" {
		hash.Write([]byte(epoch))
		s.epochs = []string{epoch}
	}
	text := make([]byte, 0, len(s.Slug)+headerSize+len(s.JWKS))
	text = append(text, s.Slug...)
	slug := len(text)
	text = append(base64.RawURLEncoding.AppendEncode(append(text, '"'), hash.Sum(nil)[:18]), '"')
	tag := len(text)
	text = changedAt.UTC().AppendFormat(text, http.TimeFormat)
	modified := len(text)
	text = strconv.AppendInt(append(text, "public, max-age="...), int64(s.Caching.MaxAge/time.Second), 10)
	text = strconv.AppendInt(append(text, ", stale-while-revalidate="...), int64(s.Caching.StaleWhileRevalidate/time.Second), 10)
	text = strconv.AppendInt(append(text, ", stale-if-error="...), int64(s.Caching.StaleIfError/time.Second), 10)
	caching := len(text)
	text = strconv.AppendInt(text, int64(len(s.JWKS)), 10)
	length := len(text)
	text = append(text, s.JWKS...)
	all := unsafe.String(unsafe.SliceData(text), length) // nothing writes there any more
	s.Slug, s.etag[0], s.modified[0], s.caching[0], s.length[0] = all[:slug], all[slug:tag], all[tag:modified], all[modified:caching], all[caching:]
	s.JWKS = text[length:len(text):len(text)]
}

// headerSize is as much as those fields take, or a little more.
const headerSize = 144

// ETag is the strong entity tag of the JWKS (RFC 9110 section 8.8.3).
func (s *Snapshot) ETag() string { return s.etag[0] }

// CacheControl is what caches are told of all that is read of the tenant.
func (s *Snapshot) CacheControl() string { return s.caching[0] }

// Describe writes the header of the JWKS, but for its type and length. The
// values belong to the snapshot: nothing may append to them.
func (s *Snapshot) Describe(h http.Header) {
	h["Etag"], h["Last-Modified"], h["Cache-Control"] = s.etag[:], s.modified[:], s.caching[:]
	if s.epochs != nil {
		h[EpochHeader] = s.epochs
	}
}

// Length is the Content-Length of the JWKS, as a header field.
func (s *Snapshot) Length() []string { return s.length[:] }

// Algorithms are those a verifier needs: first what is signed with, the default
// first of all, then what published keys of retired policies signed, until the
// last of them has left.
func (s *Snapshot) Algorithms() []jose.SignatureAlgorithm {
	algs := make([]jose.SignatureAlgorithm, 0, len(s.Policies))
	for _, p := range s.Policies {
		algs = append(algs, p.Alg)
	}
	live := len(algs)
	for i := range s.published {
		if alg := s.published[i].alg; !slices.Contains(algs, alg) {
			algs = append(algs, alg)
		}
	}
	slices.Sort(algs[live:])
	return algs
}

// policy finds a live policy; an empty algorithm asks for the default.
func (s *Snapshot) Policy(alg jose.SignatureAlgorithm) (SigningPolicy, error) {
	for _, p := range s.Policies {
		if p.Alg == alg || alg == "" && p.Default {
			return p, nil
		}
	}
	return SigningPolicy{}, fmt.Errorf("%w: %s", keys.ErrPolicyNotFound, alg)
}

// weight is what the snapshot costs in memory, in bytes, once its keys are
// parsed and its discovery document is made, and with what the cache needs for
// it; a little more rather than less. TestATenantWeighsWhatItTakes holds it
// against the heap.
func (s *Snapshot) Weight() int {
	bytes := 1450 + len(s.JWKS)*17/16 + 2*len(s.Metadata)
	for i := range s.Policies {
		bytes += 160 + len(s.Policies[i].jwt)
	}
	for i := range s.published {
		bytes += 168 + len(s.published[i].kid) + 128 + len(s.published[i].jwk)/2
	}
	return bytes
}
