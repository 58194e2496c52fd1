package tokens

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/strictjson"
)

// CallerHeader is a protected header that the caller has made, as a library that signs
// by a remote key does (RFC 7515 section 5.1).
type CallerHeader struct {
	Alg       jose.SignatureAlgorithm
	KID       string
	Typ       string // empty: none
	Unencoded bool   // "b64": false (RFC 7797)
	Protected Protected
}

// ReadCallerHeader decodes an encoded protected header. It accepts what
// [Header.Protect] could have made, in any order and with any spaces: alg and kid must be
// in it, "b64": false must be critical, and nothing else may be. Errors: *[ClaimError].
func ReadCallerHeader(encoded string) (CallerHeader, error) {
	h := CallerHeader{Protected: Protected(encoded)}
	text, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return h, Invalid("protected", "must be base64url without padding (RFC 7515 section 2)")
	}
	if len(text) > maxHeader {
		return h, Invalid("protected", "must be at most "+strconv.Itoa(maxHeader)+" bytes")
	}
	members, err := strictjson.ParseObject(text)
	if err != nil {
		return h, Invalid("protected", err.Error())
	}
	var alg string
	for name, into := range map[string]*string{"alg": &alg, "kid": &h.KID, "typ": &h.Typ} {
		raw, given := members[name]
		value, isText := unquoteString(raw)
		if given && (!isText || value == "") || !given && name != "typ" {
			return h, Invalid("protected."+name, "must be a string that is not empty")
		}
		*into = value
	}
	h.Alg = jose.SignatureAlgorithm(alg)
	if err := CheckType(h.Typ); err != nil {
		return h, Invalid("protected.typ", err.(*ClaimError).Message)
	}
	if h.Unencoded, err = readUnencoded(members); err != nil {
		return h, err
	}
	for name := range members {
		if !slices.Contains([]string{"alg", "kid", "typ", "b64", "crit"}, name) && isReserved(name) {
			return h, Invalid("protected."+name, "must not be in the header")
		}
	}
	return h, nil
}

// readUnencoded reads b64 and crit of a header (RFC 7797 sections 3 and 6).
func readUnencoded(members map[string]json.RawMessage) (bool, error) {
	b64, has := members["b64"]
	crit, critical := members["crit"]
	switch {
	case !has && !critical:
		return false, nil
	case !has || string(b64) != "false":
		return false, Invalid("protected.b64", "must be false, or not there, and then neither may crit")
	}
	var names []string
	if json.Unmarshal(crit, &names) != nil || len(names) != 1 || names[0] != "b64" {
		return false, Invalid("protected.crit", `must be ["b64"] beside "b64": false`)
	}
	return true, nil
}

// isReserved reports whether a caller cannot set a member of a header.
func isReserved(name string) bool {
	return name == "" || slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, name) })
}
