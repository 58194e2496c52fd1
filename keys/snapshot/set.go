package snapshot

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// Set is a tenant's JWK Set as it is served, with an outline of its keys and policies,
// as the tenant's row stores both. The outline has a line for the time of the change,
// one for each JWK, in the order of the body, and one for each policy that signs, the
// default one first:
//
//	v1 <Unix time in µs>
//	key <alg> <state> <bytes of its JWK> <kid, which may have spaces but no line break>
//	also <the same, for a further algorithm of the key of the line before>
//	policy <alg> <default_token_ttl_seconds> <max_token_ttl_seconds> [default]
//
// The last line is the code of all that, by the process that rendered it
// ([tenant.Authority.SetMAC]):
//
//	mac <base64url>
//
// Another format would begin with another word: processes of two versions of this
// program may share a database, and one that does not know the word reads keys and
// policies instead (queries/snapshots.sql).
type Set struct {
	Body    []byte // RFC 7517 section 5; nil: none
	Outline string
}

const (
	outlineVersion = "v1"
	setPrefix      = `{"keys":[`
	setSuffix      = `]}`
)

// publishedStates lists the published states in the order of the JWKS.
var publishedStates = []keys.State{keys.Active, keys.Standby, keys.Deprecated}

// comparePublished orders the keys of a set: by state, deprecated ones by when they stopped
// signing, latest first, and others by when they were created, newest first.
func comparePublished(a, b *keys.Key) int {
	return cmp.Or(
		cmp.Compare(slices.Index(publishedStates, a.State), slices.Index(publishedStates, b.State)),
		db.ZeroIfNull(b.DeprecatedAt).Compare(db.ZeroIfNull(a.DeprecatedAt)),
		b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.KID, a.KID))
}

// RenderSet renders the set of a tenant's published keys (active, then standby, then
// deprecated, each in the order of comparePublished) and its live policies, which it sorts. Errors: a key whose
// public JWK does not match its row.
func RenderSet(changedAt time.Time, all []keys.Key, live []tenant.Policy) (set Set, err error) {
	published := make([]*keys.Key, 0, len(all))
	size := len(setPrefix) + len(setSuffix)
	for i := range all {
		if k := &all[i]; slices.Contains(publishedStates, k.State) {
			published = append(published, k)
			size += (len(k.PublicJWK) + 1) * len(k.Algorithms())
		}
	}
	slices.SortFunc(published, comparePublished)
	body := append(make([]byte, 0, size), setPrefix...)
	outline := fmt.Appendf(make([]byte, 0, 32+96*len(published)+64*len(live)), "%s %d\n", outlineVersion, changedAt.UnixMicro())
	for _, k := range published {
		if body, outline, err = appendKey(body, outline, k); err != nil {
			return Set{}, err
		}
	}
	slices.SortFunc(live, defaultFirst)
	for _, p := range live {
		outline = fmt.Appendf(outline, "policy %s %d %d", p.Alg, p.DefaultTokenTTL/time.Second, p.MaxTokenTTL/time.Second)
		if p.Default {
			outline = append(outline, " default"...)
		}
		outline = append(outline, '\n')
	}
	return Set{append(body, setSuffix...), string(outline)}, nil
}

// appendKey appends the JWKs of a key to a body, and their lines to its outline.
func appendKey(body, outline []byte, k *keys.Key) ([]byte, []byte, error) {
	if err := k.CheckPublicJWK(); err != nil {
		return nil, nil, err
	}
	jwks, err := k.PublicJWKs()
	if err != nil {
		return nil, nil, err
	}
	word := "key"
	for i, alg := range k.Algorithms() {
		if len(body) > len(setPrefix) {
			body = append(body, ',')
		}
		body = append(body, jwks[i]...)
		outline = fmt.Appendf(outline, "%s %s %s %d %s\n", word, alg, k.State, len(jwks[i]), k.KID)
		word = "also"
	}
	return body, outline, nil
}

// Sealed returns the set with its code as the last line of the outline.
func (s Set) Sealed(a *tenant.Authority, tenantID uuid.UUID) Set {
	if s.Body == nil {
		return s
	}
	s.Outline += outlineMAC + base64.RawURLEncoding.EncodeToString(a.SetMAC(tenantID, s.Body, s.Outline)) + "\n"
	return s
}

// outlineMAC begins the last line of an outline.
const outlineMAC = "mac "

// check checks the code of a set that was read. Errors: tenant.ErrForged.
func (s Set) check(a *tenant.Authority, tenantID uuid.UUID) error {
	at := strings.LastIndex(s.Outline, "\n"+outlineMAC) + 1
	mac, _ := base64.RawURLEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(s.Outline[at:], outlineMAC), "\n"))
	return a.CheckSet(tenantID, s.Body, s.Outline[:at], mac)
}

// defaultFirst orders a tenant's policies: the default one, then by algorithm.
func defaultFirst(a, b tenant.Policy) int {
	if a.Default == b.Default {
		return cmp.Compare(a.Alg, b.Alg)
	} else if a.Default {
		return -1
	}
	return 1
}

// publishedSet returns the stored set of a tenant, or one rendered from its keys and
// policies.
func publishedSet(p db.Public) (Set, error) {
	if p.Tenant.JWKS != nil {
		return Set{p.Tenant.JWKS, p.Tenant.Outline}, nil
	}
	all, policies := make([]keys.Key, len(p.Keys)), make([]tenant.Policy, len(p.Policies))
	for i, row := range p.Keys {
		all[i] = keys.Key{
			TenantID: p.Tenant.ID, KID: row.KID, Alg: jose.SignatureAlgorithm(row.Alg), Algs: AlgorithmsOf(row.Algs), State: keys.State(row.State),
			PublicJWK: row.PublicJWK, CreatedAt: row.CreatedAt, DeprecatedAt: row.DeprecatedAt,
		}
	}
	for i, row := range p.Policies {
		policies[i] = tenant.Policy{
			Alg: jose.SignatureAlgorithm(row.Alg), Default: row.IsDefault,
			DefaultTokenTTL: time.Duration(row.DefaultTokenTTLSeconds) * time.Second,
			MaxTokenTTL:     time.Duration(row.MaxTokenTTLSeconds) * time.Second,
		}
	}
	return RenderSet(p.ChangedAt, all, policies)
}

// applySet fills the snapshot from a set. Errors: an outline that does not match the body.
func (s *Snapshot) applySet(set Set) error {
	header, lines, _ := strings.Cut(set.Outline, "\n")
	version, changedAt := cutField(header)
	micros, err := strconv.ParseInt(changedAt, 10, 64)
	if err != nil || version != outlineVersion {
		return s.outlineError()
	}
	s.JWKS, s.outline, s.ChangedAt = set.Body, lines, time.UnixMicro(micros)
	if !s.readOutline(nil) {
		return s.outlineError()
	}
	s.addHeader(s.ChangedAt)
	return nil
}

// readOutline adds what the outline says to contents, or only checks it if they are nil.
// Keys and policies refer to the bytes of body and outline. It reports whether the outline
// matches the body.
func (s *Snapshot) readOutline(c *contents) bool {
	at := len(setPrefix)
	if c != nil {
		c.published = make([]publicKey, 0, strings.Count(s.outline, "key ")+strings.Count(s.outline, "also "))
	}
	for line := range strings.Lines(s.outline) {
		kind, line := cutField(line)
		var ok bool
		switch kind {
		case "key", "also":
			at, ok = s.readKeyLine(c, line, at, kind == "also")
		case "policy":
			ok = s.readPolicyLine(c, line)
		case "mac":
			ok = true // checked before
		}
		if !ok {
			return false
		}
	}
	return true
}

func (s *Snapshot) outlineError() error {
	return fmt.Errorf("keys: the outline of the JWK Set of tenant %s does not match its body", s.TenantID)
}

// cutField splits the first word off a line.
func cutField(line string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	return word, rest
}

// readKeyLine adds the key of an outline line; its JWK begins at offset at of the body.
// next is the offset of the next JWK.
func (s *Snapshot) readKeyLine(c *contents, line string, at int, further bool) (next int, ok bool) {
	alg, line := cutField(line)
	state, line := cutField(line)
	length, kid := cutField(line)
	size, err := strconv.Atoi(length)
	a, unknown := keys.ParseAlgorithm(alg)
	rank := slices.Index(publishedStates, keys.State(state))
	if err != nil || unknown != nil || kid == "" || rank < 0 || size < 0 || size > len(s.JWKS)-len(setSuffix)-at {
		return 0, false
	}
	if c != nil {
		c.published = c.published[:len(c.published)+1] // filled in place: publicKey must not be copied
		k := &c.published[len(c.published)-1]
		k.further = further
		k.kid, k.alg, k.state, k.jwk = kid, a, publishedStates[rank], s.JWKS[at:at+size:at+size]
	}
	return at + size + len(","), true
}

func (s *Snapshot) readPolicyLine(c *contents, line string) bool {
	alg, line := cutField(line)
	ttl, line := cutField(line)
	maxTTL, line := cutField(line)
	a, unknown := keys.ParseAlgorithm(alg)
	defaultSeconds, err := strconv.Atoi(ttl)
	maxSeconds, err2 := strconv.Atoi(maxTTL)
	if unknown != nil || err != nil || err2 != nil {
		return false
	}
	if c == nil {
		return true
	}
	p := SigningPolicy{
		Alg: a, Default: line == "default",
		DefaultTokenTTL: time.Duration(defaultSeconds) * time.Second, MaxTokenTTL: time.Duration(maxSeconds) * time.Second,
	}
	for i := range c.published {
		if k := &c.published[i]; k.alg == p.Alg && k.state == keys.Active && !k.further {
			p.ActiveKID = k.kid
			p.jwt, _ = tokens.Header{KID: k.kid, Alg: p.Alg, Typ: tokens.TypeJWT}.Protect(tokens.Form{}) // fails only for Extra
		}
	}
	c.policies = append(c.policies, p)
	return true
}

// KeyRow is a key row with the columns that every key query selects.
type KeyRow db.GetKeyRow

func (r KeyRow) Key() keys.Key {
	return keys.Key{
		TenantID: r.TenantID, KID: r.KID, Alg: jose.SignatureAlgorithm(r.Alg), Algs: AlgorithmsOf(r.Algs), State: keys.State(r.State), Origin: keys.Origin(r.Origin),
		PublicJWK: r.PublicJWK, CreatedAt: r.CreatedAt.UTC(), PublishedAt: r.PublishedAt.UTC(), ActivatedAt: db.UTC(r.ActivatedAt),
		Activation: keys.Activation(db.ZeroIfNull(r.Activation)), DeprecatedAt: db.UTC(r.DeprecatedAt), TokenHorizon: db.UTC(r.TokenHorizon),
		ExpiresAt: db.UTC(r.ExpiresAt), ExpiredAt: db.UTC(r.ExpiredAt), RevokedAt: db.UTC(r.RevokedAt),
		RevocationReason: keys.Reason(db.ZeroIfNull(r.RevocationReason)), PurgedAt: db.UTC(r.PurgedAt),
		LastSignedAt: db.UTC(r.LastSignedAt), LastTokenExpiresAt: db.UTC(r.LastTokenExpiresAt),
	}
}

// AlgorithmsOf returns the column algs of a key row.
func AlgorithmsOf(column []string) []jose.SignatureAlgorithm {
	if column == nil {
		return nil
	}
	algs := make([]jose.SignatureAlgorithm, len(column))
	for i, alg := range column {
		algs[i] = jose.SignatureAlgorithm(alg)
	}
	return algs
}
