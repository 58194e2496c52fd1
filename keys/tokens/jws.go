package tokens

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys"
)

// Form is which of the compact forms a JWS takes. The zero value is the usual
// one.
type Form struct {
	Detached  bool // RFC 7515 appendix F: the payload is not in it
	Unencoded bool // RFC 7797: "b64": false, the payload is signed as it is
}

var errUnencodable = errors.New("keys: an unencoded payload that is not detached is printable ASCII without a dot")

// Sign makes a compact JWS (RFC 7515 section 5.1) over payload. head comes
// from [Header.Protect], with the same Unencoded. Errors wrap [ErrInvalid]
// where the payload cannot take the form.
func Sign(p keys.Private, head Protected, payload []byte, f Form) (string, error) {
	if f.Unencoded && !f.Detached && !printable(payload) {
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

// printable is what RFC 7797 section 5.2 lets through unencoded in the compact
// form.
func printable(payload []byte) bool {
	for _, c := range payload {
		if c < ' ' || c > '~' || c == '.' {
			return false
		}
	}
	return true
}

// maxHeader bounds what a caller may add to a header, in bytes.
const maxHeader = 8 << 10

// Header is the protected header of a JWS that is to be signed.
type Header struct {
	KID   string
	Alg   jose.SignatureAlgorithm
	Typ   string                     // RFC 7515 section 4.1.9; empty: none
	Extra map[string]json.RawMessage // what else the caller wants in it
}

// TypeJWT is the typ of a token that asks for none (RFC 7519 section 5.1).
const TypeJWT = "JWT"

// Protected is a header as it begins a compact JWS, encoded. One without Extra
// can be kept and used for every token of its key.
type Protected string

// reserved are the members a caller cannot set: those that Keyward sets, those
// that could make a verifier trust another key (RFC 8725 section 3.10), and
// those of JWE.
var reserved = []string{
	"alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256",
	"enc", "zip", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c",
}

// Protect encodes the header: alg, kid and typ first, then the rest by name;
// with "b64": false for an unencoded payload, which is then critical (RFC 7797
// section 6). Its error is a *[ClaimError].
func (h Header) Protect(f Form) (Protected, error) {
	out := appendText(append(make([]byte, 0, 160), '{'), "alg", string(h.Alg))
	out = appendText(out, "kid", h.KID)
	if h.Typ != "" {
		out = appendText(out, "typ", h.Typ)
	}
	if f.Unencoded {
		out = appendMember(out, "b64", []byte("false"))
		out = appendMember(out, "crit", []byte(`["b64"]`))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Extra)) {
		value, err := extra(name, h.Extra[name])
		if err != nil {
			return "", err
		}
		out = appendMember(out, name, value)
	}
	if len(out) > maxHeader {
		return "", Invalid("headers", "are too long")
	}
	return Protected(base64.RawURLEncoding.EncodeToString(append(out, '}'))), nil
}

func extra(name string, value json.RawMessage) ([]byte, error) {
	field := "headers." + name
	if name == "" || slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, name) }) {
		return nil, Invalid(field, "is not for the caller to set")
	}
	if err := strictjson.Check(value); err != nil {
		return nil, Invalid(field, err.Error())
	}
	return value, nil
}

// appendMember writes into an object that is not closed yet.
func appendMember(object []byte, name string, value []byte) []byte {
	return append(appendName(object, name), value...)
}

func appendText(object []byte, name, value string) []byte {
	return appendQuoted(appendName(object, name), value)
}

func appendName(object []byte, name string) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	return append(appendQuoted(object, name), ':')
}

// appendQuoted writes s as a JSON string. Nothing is escaped that need not be:
// "&" in an issuer stays "&".
func appendQuoted(dst []byte, s string) []byte {
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

// ReservedType says whether a typ is one that only Keyward itself may sign under:
// those of checkpoints, certificates and deliveries, which begin with
// "keyward-", and that of key histories. Who may have anything signed by the
// platform's tenant could forge them otherwise. Compared as media types are
// (RFC 7515 section 4.1.9).
func ReservedType(typ string) bool {
	typ = mediaType(typ)
	return strings.HasPrefix(typ, "application/keyward-") || typ == "application/"+HistoryType
}

// CheckType refuses a caller's typ that is Keyward's own. Its error is a
// *[ClaimError].
func CheckType(typ string) error {
	if ReservedType(typ) {
		return Invalid("typ", "must be another one: those that begin with keyward- and "+HistoryType+" are for what Keyward itself attests")
	}
	return nil
}
