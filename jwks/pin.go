package jwks

import (
	"cmp"
	"context"
	"crypto"
	"crypto/mldsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Pin makes a [Client] accept only signed sets (JWTs of typ jwk-set+jwt, OpenID
// Federation 1.0 section 5.2.1), so that it does not matter who carries them: a CDN, a
// bucket, a file, a mirror. At least one of Keys and Thumbprints is needed.
//
// The first set must be signed by a pinned key. From then on each accepted set is the
// trust in the next one: it must be signed by a key of the set before, so that the
// issuer's keys can rotate without a new pin, and a key that has left the set cannot
// sign one. An issuer that replaces all keys at once, or revokes the signing one in
// favor of a key that no set had, ends this chain: such a set is refused until the new
// key is pinned.
//
// A set without exp, or beyond it, is refused, and so is one that is older than a set
// accepted before.
type Pin struct {
	// Keys is a public JWK or a JWK Set.
	Keys []byte
	// Thumbprints are SHA-256 thumbprints of keys in base64url (RFC 7638), as the kids of
	// keys that Keyward generates.
	Thumbprints []string
	// Issuer is the iss and sub of the sets; "" is Config.Issuer, and if that is empty
	// too, any issuer of a trusted signature.
	Issuer string
	// State keeps the last accepted set, so that a process which starts again goes on in
	// the chain instead of with the pin; nil is memory. See [PinFile].
	State PinState
}

// A PinState keeps the last accepted set of a [Pin]. What it returns is believed.
type PinState interface {
	// Load returns the set that was saved last, nil if there is none.
	Load(ctx context.Context) ([]byte, error)
	Save(ctx context.Context, set []byte) error
}

// Kinds of [ErrJWKS] for a client with a [Pin].
var (
	ErrNotSigned  = newKind(ErrJWKS, "jwks: the set is not signed by a trusted key")
	ErrSetExpired = newKind(ErrJWKS, "jwks: the signed set has expired or has no exp")
	ErrRollback   = newKind(ErrJWKS, "jwks: the signed set is older than one accepted before")
)

// signedSetType is the typ of a signed set.
const signedSetType = "jwk-set+jwt"

// maxClockAhead is how far the iat of a set may lie ahead of this machine's clock.
const maxClockAhead = 5 * time.Minute

// signedSet holds the claims of a signed set beside its keys.
type signedSet struct {
	issuer, subject   string
	issuedAt, expires time.Time // zero: none
	epoch, version    int64     // version is 0 if there is none
	notBefore         time.Time
	payload           string
}

// pin checks signed sets.
type pin struct {
	config     Pin
	log        *slog.Logger
	pinned     []*Key
	thumbprint map[string]bool

	mu      sync.Mutex // held while a set is checked
	loaded  bool       // State was asked
	trusted []*Key     // of the last accepted set
	last    *signedSet // nil: none was accepted
}

// newPin returns nil if nothing is pinned. Errors wrap [ErrArgument].
func newPin(c *Config) (*pin, error) {
	if c.Pin == nil {
		return nil, nil
	}
	p := &pin{config: *c.Pin, log: c.Logger, thumbprint: map[string]bool{}}
	p.config.Issuer = cmp.Or(p.config.Issuer, c.Issuer)
	for _, print := range p.config.Thumbprints {
		if sum, err := base64url.DecodeString(print); err != nil || len(sum) != sha256.Size {
			return nil, argumentError("Pin.Thumbprints: %.60q is not a SHA-256 thumbprint in base64url", print)
		}
		p.thumbprint[print] = true
	}
	if len(p.config.Keys) > 0 {
		if p.pinned = parsePinned(p.config.Keys, c.MaxKeys); len(p.pinned) == 0 {
			return nil, argumentError("Pin.Keys has no public key for signatures")
		}
	}
	if len(p.pinned)+len(p.thumbprint) == 0 {
		return nil, argumentError("Pin has neither Keys nor Thumbprints")
	}
	return p, nil
}

// parsePinned parses a JWK or the keys of a JWK Set.
func parsePinned(document []byte, maxKeys int) (keys []*Key) {
	listed, err := splitKeys(string(document), maxKeys)
	if err != nil {
		listed = []string{string(document)}
	}
	for _, raw := range listed {
		if k, _, err := parseKey(raw); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// accept checks a signed set with parse, which parses its payload, and makes it the last
// accepted one. revoked are kids whose signatures count no more. Errors: [ErrNotSigned],
// [ErrSetExpired], [ErrRollback], those of parse.
func (p *pin) accept(ctx context.Context, raw []byte, now time.Time, revoked func(kid string) bool, parse func(payload []byte) (*set, error)) (*set, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(ctx); err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(raw))
	claims, err := p.verify(text, now, revoked)
	if err != nil {
		return nil, err
	}
	s, err := parse([]byte(claims.payload))
	if err != nil {
		return nil, err
	}
	s.signed = claims
	if p.last != nil && p.last.payload == claims.payload {
		return s, nil
	}
	p.trust(claims, s)
	if p.config.State != nil {
		if err := p.config.State.Save(ctx, []byte(text)); err != nil {
			p.log.Warn("The accepted set cannot be saved", slog.Any("error", err))
		}
	}
	return s, nil
}

// trust makes the keys of an accepted set those that may sign the next one.
func (p *pin) trust(claims *signedSet, s *set) {
	p.last, p.trusted = claims, p.trusted[:0:0]
	for _, e := range s.entries {
		if k, _, err := parseKey(e.raw); err == nil {
			p.trusted = append(p.trusted, k)
		}
	}
}

// load asks State, once, for the last accepted set.
func (p *pin) load(ctx context.Context) error {
	if p.loaded || p.config.State == nil {
		return nil
	}
	raw, err := p.config.State.Load(ctx)
	if err != nil {
		return fmt.Errorf("%w: the state of the pin: %w", ErrJWKS, err)
	}
	p.loaded = true
	if len(raw) == 0 {
		return nil
	}
	jws, ok := parseCompact(strings.TrimSpace(string(raw)))
	claims, whole := readSignedSet(jws.payload)
	if !ok || !whole {
		return fmt.Errorf("%w: the state of the pin is no signed set", ErrJWKS)
	}
	s, err := parseSet(ctx, []byte(claims.payload), 1, maxPinnedKeys, func(string, error) {})
	if err != nil {
		return fmt.Errorf("%w: the state of the pin: %w", ErrJWKS, err)
	}
	p.trust(claims, s)
	return nil
}

// maxPinnedKeys bounds the keys of a saved set, which was accepted within the bound of
// the configuration.
const maxPinnedKeys = 10_000

// verify checks all of a signed set but its keys.
func (p *pin) verify(text string, now time.Time, revoked func(string) bool) (*signedSet, error) {
	jws, ok := parseCompact(text)
	if !ok {
		return nil, fmt.Errorf("%w: it is not a JWT", ErrNotSigned)
	}
	if !strings.EqualFold(plainType(jws.typ), signedSetType) {
		return nil, fmt.Errorf("%w: its typ is %.40q", ErrNotSigned, jws.typ)
	}
	claims, ok := readSignedSet(jws.payload)
	if !ok {
		return nil, fmt.Errorf("%w: its claims are missing or of a wrong form", ErrNotSigned)
	}
	alg := algorithmByName(jws.alg)
	if alg == nil || !slices.ContainsFunc(p.signers(&jws), func(k *Key) bool {
		return k.accepts(alg) && !revoked(k.id) && k.verify(alg, []byte(jws.input), jws.signature)
	}) {
		return nil, fmt.Errorf("%w: kid %.64q", ErrNotSigned, jws.kid)
	}
	switch own := p.config.Issuer; {
	case claims.issuer != claims.subject, own != "" && claims.issuer != own:
		return nil, fmt.Errorf("%w: it is of the issuer %.200q", ErrNotSigned, claims.issuer)
	case claims.expires.IsZero():
		return nil, ErrSetExpired
	case !now.Before(claims.expires):
		return nil, fmt.Errorf("%w: at %s", ErrSetExpired, claims.expires.Format(time.RFC3339))
	case claims.issuedAt.After(now.Add(maxClockAhead)):
		return nil, fmt.Errorf("%w: it is of the future", ErrNotSigned)
	case p.last != nil && claims.olderThan(p.last):
		return nil, ErrRollback
	}
	return claims, nil
}

// signers returns the keys that may have signed a set: those of the last accepted set,
// or else the pinned ones.
func (p *pin) signers(jws *compact) []*Key {
	if p.last != nil {
		return keysNamed(p.trusted, jws.kid)
	}
	found := keysNamed(p.pinned, jws.kid)
	if len(p.thumbprint) == 0 {
		return found
	}
	for _, k := range keysNamed(parsePinned([]byte(jws.payload), maxPinnedKeys), jws.kid) {
		if p.thumbprint[thumbprintOf(k)] {
			found = append(found, k)
		}
	}
	return found
}

// keysNamed returns the keys with a kid, and those without one.
func keysNamed(keys []*Key, kid string) (named []*Key) {
	for _, k := range keys {
		if k.id == kid || k.id == "" {
			named = append(named, k)
		}
	}
	return named
}

// thumbprintOf returns the thumbprint of RFC 7638, for ML-DSA as RFC 9964 has it.
func thumbprintOf(k *Key) string {
	if key, ok := k.key.(*mldsa.PublicKey); ok {
		sum := sha256.Sum256([]byte(`{"alg":"` + string(k.alg.name) + `","kty":"AKP","pub":"` + base64url.EncodeToString(key.Bytes()) + `"}`))
		return base64url.EncodeToString(sum[:])
	}
	sum, err := (&jose.JSONWebKey{Key: k.key}).Thumbprint(crypto.SHA256)
	if err != nil { // cannot be: only keys of known types are made
		return ""
	}
	return base64url.EncodeToString(sum)
}

// olderThan reports whether a set precedes another one: by epoch and version, as Keyward
// counts them, or else by iat.
func (c *signedSet) olderThan(other *signedSet) bool {
	if c.version != 0 && other.version != 0 {
		return cmp.Or(cmp.Compare(c.epoch, other.epoch), cmp.Compare(c.version, other.version)) < 0
	}
	return c.issuedAt.Before(other.issuedAt)
}

// isSuperseded reports whether a newer set than s was accepted since.
func (p *pin) isSuperseded(s *set) bool {
	if p == nil || s.signed == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.signed.olderThan(p.last)
}

// readSignedSet reads the claims of a signed set. ok is false if one is of a wrong form,
// or iss, sub or iat is missing.
func readSignedSet(payload string) (c *signedSet, ok bool) {
	c = &signedSet{payload: payload}
	fine := true
	whole := eachMember(payload, func(name, value string) {
		ok := true
		switch name {
		case "iss":
			c.issuer, ok = unquoteString(value)
		case "sub":
			c.subject, ok = unquoteString(value)
		case "iat":
			c.issuedAt, ok = parseDate(value)
		case "exp":
			c.expires, ok = parseDate(value)
		case "not_before":
			c.notBefore, ok = parseDate(value)
		case "epoch":
			c.epoch, ok = parseCount(value)
		case "version":
			c.version, ok = parseCount(value)
		}
		fine = fine && ok
	})
	return c, whole && fine && c.issuer != "" && c.subject != "" && !c.issuedAt.IsZero()
}

func parseCount(value string) (int64, bool) {
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil && n >= 0
}

// PinFile keeps the last accepted set of a [Pin] in a file. Give each client a file of
// its own.
func PinFile(name string) PinState { return pinFile(name) }

type pinFile string

// Load implements [PinState].
func (f pinFile) Load(context.Context) ([]byte, error) {
	set, err := os.ReadFile(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return set, err
}

// Save implements [PinState]. The file is replaced at once, so that it is never a part
// of a set.
func (f pinFile) Save(_ context.Context, set []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(string(f)), filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(set)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), string(f))
	}
	if err != nil {
		_ = os.Remove(temporary.Name()) // it is of no use to anybody
	}
	return err
}
