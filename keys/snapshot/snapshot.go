package snapshot

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
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

// Snapshot holds all that readers need of a tenant at one version: its JWKS, byte for
// byte, and its signing keys. It never changes and holds no secret.
type Snapshot struct {
	// The fields that serving a JWKS reads come first and together: with many
	// tenants, each cache line read is a cache miss.
	entry entry // the cache's entry of this snapshot

	JWKS []byte // the JWK Set, RFC 7517 section 5

	// The header fields of JWKS, in the form of http.Header: serving allocates nothing.
	etag, modified, caching, length [1]string
	epochs                          []string

	TenantID  uuid.UUID
	Slug      string
	Issuer    string
	Domain    string // the tenant's custom domain, empty: none
	Status    tenant.Status
	Caching   tenant.Caching
	NotBefore time.Time // zero: tokens of any age are accepted
	Version   int64     // the seq of the tenant's last audit event

	Metadata json.RawMessage // a JSON object: the tenant's own members of its discovery document; empty: none

	ChangedAt time.Time // since when the JWK Set is in effect

	JWKSPath string        // a further path of the JWK Set; empty: none
	headers  []headerField // further response headers of the JWK Set

	outline   string // checked; the contents are made of it
	contents  atomic.Pointer[contents]
	discovery atomic.Pointer[Document]
}

// contents are the keys and policies of a snapshot. They are made on demand, because of
// most tenants in memory only the JWK Set is read: with pointers to each key, a hundred
// thousand tenants keep the garbage collector busy.
type contents struct {
	published []publicKey
	policies  []SigningPolicy // the default one first
}

// readContents returns the contents.
func (s *Snapshot) readContents() *contents {
	if c := s.contents.Load(); c != nil {
		return c
	}
	c := &contents{}
	s.readOutline(c) // cannot fail: it was checked
	if s.contents.CompareAndSwap(nil, c) {
		s.entry.reweigh()
	}
	return s.contents.Load()
}

// Policies returns the policies that sign, the default one first. Do not change them.
func (s *Snapshot) Policies() []SigningPolicy { return s.readContents().policies }

// Document is a response body and its entity tag.
type Document struct {
	Body []byte
	ETag string // strong, RFC 9110 section 8.8.3
}

// Discovery returns the document that render creates from the snapshot, and keeps it as
// long as the snapshot. It is created on demand, because few clients that read a JWKS
// read it too.
func (s *Snapshot) Discovery(render func(*Snapshot) (*Document, error)) (*Document, error) {
	if d := s.discovery.Load(); d != nil {
		return d, nil
	}
	d, err := render(s)
	if err != nil {
		return nil, err
	}
	if s.discovery.CompareAndSwap(nil, d) {
		s.entry.reweigh()
	}
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

// Protect encodes a header for the active key. The header of an ordinary JWT is encoded
// in advance.
func (p SigningPolicy) Protect(h tokens.Header, f tokens.Form) (tokens.Protected, error) {
	if h.Typ == tokens.TypeJWT && len(h.Extra) == 0 && f == (tokens.Form{}) {
		return p.jwt, nil
	}
	h.KID, h.Alg = p.ActiveKID, p.Alg
	return h.Protect(f)
}

// publicKey is one JWK of the JWKS: a key has one for each of its algorithms.
type publicKey struct {
	kid     string
	alg     jose.SignatureAlgorithm
	state   keys.State
	jwk     []byte                           // a part of the JWKS
	parsed  atomic.Pointer[crypto.PublicKey] // set by parsePublic
	further bool                             // alg is not that of the key's policy
}

// parsePublic returns a parsed key, parsing it at the first call. Errors: those of
// [keys.ParsePublicJWK].
func (s *Snapshot) parsePublic(k *publicKey) (crypto.PublicKey, error) {
	if parsed := k.parsed.Load(); parsed != nil {
		return *parsed, nil
	}
	public, err := keys.ParsePublicJWK(k.alg, k.jwk)
	if err == nil && k.parsed.CompareAndSwap(nil, &public) {
		s.entry.reweigh()
	}
	return public, err
}

// findKey returns the published JWK with this kid and algorithm, else one with this kid,
// or nil.
func (s *Snapshot) findKey(kid string, alg jose.SignatureAlgorithm) (found *publicKey) {
	published := s.readContents().published
	for i := range published {
		k := &published[i]
		switch {
		case k.kid != kid:
		case k.alg == alg:
			return k
		case found == nil:
			found = k
		}
	}
	return found
}

// Find returns the published key with this kid, for this algorithm if it has it, and its
// parsed public key; found is false if there is none. Errors: those of
// [keys.ParsePublicJWK].
func (s *Snapshot) Find(kid string, alg jose.SignatureAlgorithm) (k tokens.VerificationKey, found bool, err error) {
	p := s.findKey(kid, alg)
	if p == nil {
		return tokens.VerificationKey{}, false, nil
	}
	public, err := s.parsePublic(p)
	return tokens.VerificationKey{Key: keys.Key{TenantID: s.TenantID, KID: kid, Alg: p.alg, State: p.state}, Public: public}, true, err
}

// newSnapshot builds the snapshot of a tenant from its rows.
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
		Metadata: t.Metadata, JWKSPath: db.ZeroIfNull(t.JWKSPath), headers: headerFields(t.JWKSHeaders),
	}
	if t.NotBefore != nil {
		snap.NotBefore = *t.NotBefore
	}
	set, err := publishedSet(p)
	if err != nil {
		return nil, err
	}
	return snap, snap.applySet(set)
}

// EpochHeader carries the tenant's not_before as a NumericDate (RFC 7519 section 2) with
// each JWKS: relying parties reject tokens with an earlier iat.
const EpochHeader = "Keyward-Not-Before"

// NotBeforeSeconds returns the tenant's not_before in whole seconds, as iat is, so rounded up; 0
// where tokens of any age are accepted.
func (s *Snapshot) NotBeforeSeconds() int64 {
	if s.NotBefore.IsZero() {
		return 0
	}
	return s.NotBefore.Add(time.Second - 1).Unix()
}

// epochValue returns the value of [EpochHeader]; empty where tokens of any age are
// accepted.
func (s *Snapshot) epochValue() string {
	if s.NotBefore.IsZero() {
		return ""
	}
	return strconv.FormatInt(s.NotBeforeSeconds(), 10)
}

// addHeader computes the header fields of the JWKS, and copies the slug, these fields,
// the JWKS and the outline into one block of memory: what a response needs is read
// together. The entity tag covers the epoch and the tenant's own headers too: a cache that revalidates with 304 would keep an epoch that was
// removed (RFC 9111 section 3.2 adds and replaces fields, it removes none).
func (s *Snapshot) addHeader(changedAt time.Time) {
	hash := sha256.New()
	hash.Write(s.JWKS)
	if epoch := s.epochValue(); epoch != "" {
		hash.Write([]byte(epoch))
		s.epochs = []string{epoch}
	}
	for _, f := range s.headers {
		hash.Write([]byte("\n" + f.name + ": " + f.value[0]))
	}
	text := make([]byte, 0, len(s.Slug)+headerSize+len(s.JWKS)+len(s.outline))
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
	body := len(text)
	text = append(text, s.outline...)
	all := unsafe.String(unsafe.SliceData(text), len(text)) // #nosec G103 -- never written again
	s.Slug, s.etag[0], s.modified[0], s.caching[0], s.length[0] = all[:slug], all[slug:tag], all[tag:modified], all[modified:caching], all[caching:length]
	s.JWKS, s.outline = text[length:body:body], all[body:]
}

// headerSize is an upper bound of the size of these fields, in bytes.
const headerSize = 144

// ETag returns the strong entity tag of the JWKS (RFC 9110 section 8.8.3).
func (s *Snapshot) ETag() string { return s.etag[0] }

// CacheControl returns the Cache-Control of every public response about the tenant.
func (s *Snapshot) CacheControl() string { return s.caching[0] }

// Describe sets the header fields of the JWKS, except type and length. The values belong
// to the snapshot: do not append to them.
func (s *Snapshot) Describe(h http.Header) {
	h["Etag"], h["Last-Modified"], h["Cache-Control"] = s.etag[:], s.modified[:], s.caching[:]
	if s.epochs != nil {
		h[EpochHeader] = s.epochs
	}
	for i := range s.headers {
		h[s.headers[i].name] = s.headers[i].value[:]
	}
}

// HasPath reports whether the tenant's JWK Set is at a path, without leading slash,
// below a URL: at its own path, or at that below its issuer, if the issuer is below the
// URL too.
func (s *Snapshot) HasPath(path, base string) bool {
	prefix, own := strings.CutSuffix(path, s.JWKSPath)
	if s.JWKSPath == "" || !own {
		return false
	}
	return prefix == "" || base != "" && strings.TrimSuffix(s.Issuer, "/")+"/" == base+"/"+prefix
}

// headerField is a further response header of a JWK Set, in the form of http.Header.
type headerField struct {
	name  string
	value [1]string
}

// headerFields returns stored headers, ordered by name: the entity tag covers them.
func headerFields(stored []byte) []headerField {
	headers := tenant.ParseHeaders(stored)
	if len(headers) == 0 {
		return nil
	}
	fields := make([]headerField, 0, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		fields = append(fields, headerField{name, [1]string{headers[name]}})
	}
	return fields
}

// Length returns the Content-Length of the JWKS, as a header field.
func (s *Snapshot) Length() []string { return s.length[:] }

// Algorithms returns the algorithms that a verifier needs: those of live policies, the
// default first, then those of retired policies with a key that is still published.
func (s *Snapshot) Algorithms() []jose.SignatureAlgorithm {
	c := s.readContents()
	algs := make([]jose.SignatureAlgorithm, 0, len(c.policies))
	for _, p := range c.policies {
		algs = append(algs, p.Alg)
	}
	live := len(algs)
	for i := range c.published {
		if alg := c.published[i].alg; !slices.Contains(algs, alg) {
			algs = append(algs, alg)
		}
	}
	slices.Sort(algs[live:])
	return algs
}

// Policy returns the live policy of an algorithm; an empty one selects the default.
// Errors: keys.ErrPolicyNotFound.
func (s *Snapshot) Policy(alg jose.SignatureAlgorithm) (SigningPolicy, error) {
	for _, p := range s.Policies() {
		if p.Alg == alg || alg == "" && p.Default {
			return p, nil
		}
	}
	return SigningPolicy{}, fmt.Errorf("%w: %s", keys.ErrPolicyNotFound, alg)
}

// parsedWeight returns the memory of a parsed public key, in bytes. Those of ML-DSA
// have a fixed size that fits the largest parameter set.
func parsedWeight(k *publicKey) int {
	if keys.KeyType(k.alg) == "AKP" {
		return 3300
	}
	return 128 + len(k.jwk)/2
}

// Weight returns the memory that the snapshot needs now, in bytes, rounded up, with the
// cache's own overhead. TestATenantWeighsWhatItTakes compares it with the heap.
func (s *Snapshot) Weight() int {
	bytes := 900 + (len(s.JWKS)+len(s.outline))*9/8 + 2*len(s.Metadata) + len(s.JWKSPath)
	for _, f := range s.headers {
		bytes += 64 + len(f.name) + len(f.value[0])
	}
	if s.discovery.Load() != nil {
		bytes += 640
	}
	c := s.contents.Load()
	if c == nil {
		return bytes
	}
	for i := range c.policies {
		bytes += 160 + len(c.policies[i].jwt)
	}
	for i := range c.published {
		bytes += 136
		if k := &c.published[i]; k.parsed.Load() != nil {
			bytes += parsedWeight(k)
		}
	}
	return bytes
}
