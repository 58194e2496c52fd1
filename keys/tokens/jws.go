package tokens

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys"
)

// Form selects a compact form of a JWS. The zero value is the usual one.
type Form struct {
	Detached  bool // RFC 7515 appendix F: the payload is not in it
	Unencoded bool // RFC 7797: "b64": false, the payload is signed as it is
}

var errUnencodable = errors.New("keys: an unencoded payload that is not detached is printable ASCII without a dot")

// Sign returns a compact JWS (RFC 7515 section 5.1) over payload. head is the
// result of [Header.Protect] with the same Form. Errors: [ErrInvalid] for a
// payload that cannot take the form, and those of [keys.Private.Sign].
func Sign(p keys.Private, head Protected, payload []byte, f Form) (string, error) {
	if f.Unencoded && !f.Detached && !isPrintable(payload) {
		return "", fmt.Errorf("%w: %w", ErrInvalid, errUnencodable)
	}
	encoded := len(payload)
	if !f.Unencoded {
		encoded = base64.RawURLEncoding.EncodedLen(encoded)
	}
	size := p.SignatureSize()
	jws := make([]byte, 0, len(head)+encoded+2+base64.RawURLEncoding.EncodedLen(size))
	jws = append(append(jws, head...), '.')
	if f.Unencoded {
		jws = append(jws, payload...)
	} else {
		jws = base64.RawURLEncoding.AppendEncode(jws, payload)
	}
	signature, err := p.Sign(jws)
	if err != nil {
		return "", err
	}
	if f.Detached {
		jws = jws[:len(head)+1]
	}
	jws = append(jws, '.')
	return string(base64.RawURLEncoding.AppendEncode(jws, signature)), nil
}

// isPrintable reports whether a payload may be in a compact JWS unencoded (RFC
// 7797 section 5.2).
func isPrintable(payload []byte) bool {
	for _, c := range payload {
		if c < ' ' || c > '~' || c == '.' {
			return false
		}
	}
	return true
}

// maxHeader limits the length of a header in bytes.
const maxHeader = 8 << 10

// Header is the protected header of a JWS to sign.
type Header struct {
	KID   string
	Alg   jose.SignatureAlgorithm
	Typ   string                     // RFC 7515 section 4.1.9; empty: none
	Extra map[string]json.RawMessage // what else the caller wants in it
}

// TypeJWT is the default typ of tokens (RFC 7519 section 5.1).
const TypeJWT = "JWT"

// Protected is the encoded header at the start of a compact JWS. Without Extra
// it can be cached and used for every token of its key.
type Protected string

// reserved lists the members that a caller cannot set: those of Keyward, those
// that could direct a verifier to another key (RFC 8725 section 3.10), and
// those of JWE.
var reserved = []string{
	"alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256",
	"enc", "zip", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c",
}

// Protect encodes the header: alg, kid, typ, then Extra in the order of names.
// For an unencoded payload it adds "b64": false and marks it critical (RFC 7797
// section 6). Errors: *[ClaimError].
func (h Header) Protect(f Form) (Protected, error) {
	out := appendStringMember(append(make([]byte, 0, 160), '{'), "alg", string(h.Alg))
	out = appendStringMember(out, "kid", h.KID)
	if h.Typ != "" {
		out = appendStringMember(out, "typ", h.Typ)
	}
	if f.Unencoded {
		out = appendMember(out, "b64", []byte("false"))
		out = appendMember(out, "crit", []byte(`["b64"]`))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Extra)) {
		value, err := extraMember(name, h.Extra[name])
		if err != nil {
			return "", err
		}
		out = appendMember(out, name, value)
	}
	if len(out) > maxHeader {
		return "", Invalid("headers", "must be at most "+strconv.Itoa(maxHeader)+" bytes")
	}
	return Protected(base64.RawURLEncoding.EncodeToString(append(out, '}'))), nil
}

// extraMember checks a member that the caller adds to the header. Errors:
// *[ClaimError].
func extraMember(name string, value json.RawMessage) ([]byte, error) {
	field := "headers." + name
	if isReserved(name) {
		return nil, Invalid(field, "is set by Keyward; leave it out")
	}
	if err := strictjson.Check(value); err != nil {
		return nil, Invalid(field, err.Error())
	}
	return value, nil
}

// appendMember appends a member to a JSON object that is not closed yet.
func appendMember(object []byte, name string, value []byte) []byte {
	return append(appendName(object, name), value...)
}

func appendStringMember(object []byte, name, value string) []byte {
	return AppendQuoted(appendName(object, name), value)
}

func appendName(object []byte, name string) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	return append(AppendQuoted(object, name), ':')
}

// AppendQuoted appends s as a JSON string. It escapes only what RFC 8259
// requires: "&" in an issuer stays "&".
func AppendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendEscaped(dst, s)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func appendEscaped(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// HistoryType is the typ of a tenant's signed key history (OpenID Federation
// 1.0 section 8.7).
const HistoryType = "jwk-set+jwt"

// ReservedType reports whether only Keyward itself may sign a typ: those of
// checkpoints, certificates and deliveries, which begin with "keyward-", and
// that of key histories. Otherwise a user of the platform's tenant could forge
// them. It compares typ as a media type (RFC 7515 section 4.1.9).
func ReservedType(typ string) bool {
	typ = mediaType(typ)
	return strings.HasPrefix(typ, "application/keyward-") || typ == "application/"+HistoryType
}

// EventType is the typ of a Security Event Token (RFC 8417 section 2.3). Tenants may sign
// their own; the platform's tell of keys, and only Keyward signs them ([IsEventType]).
const EventType = "secevent+jwt"

// IsEventType reports whether a typ is [EventType], as a media type.
func IsEventType(typ string) bool { return mediaType(typ) == "application/"+EventType }

// CheckType refuses a [ReservedType] in a caller's request. Errors:
// *[ClaimError].
func CheckType(typ string) error {
	if ReservedType(typ) {
		return Invalid("typ", "must be another one: those that begin with keyward- and "+HistoryType+" are for what Keyward itself attests")
	}
	return nil
}
