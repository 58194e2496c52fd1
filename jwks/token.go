package jwks

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Token is a verified token. It has the registered claims of RFC 7519 section
// 4.1; [Claims] and [Token.Decode] give the others.
type Token struct {
	Algorithm jose.SignatureAlgorithm // of the header
	KeyID     string                  // kid of the header; "" if it has none
	Type      string                  // typ of the header as it is written

	Issuer    string
	Subject   string
	Audience  []string
	Expiry    time.Time // zero, like the other times, if there is no such claim
	NotBefore time.Time
	IssuedAt  time.Time
	ID        string // jti
	ClientID  string // client_id (RFC 9068 section 2.2), or else azp

	payload string
	scope   string // as it is written: a string (RFC 8693 section 4.2) or a list
	scp     string // the same by another name
	alone   [1]string
	azp     string
}

// Payload returns the JSON of the claims.
func (t *Token) Payload() []byte { return []byte(t.payload) }

// Scopes returns the scopes of the claims scope and scp, each a string with spaces or a
// list of strings.
func (t *Token) Scopes() []string { return append(parseScopes(t.scope), parseScopes(t.scp)...) }

// HasScopes reports whether the token has all of these scopes.
func (t *Token) HasScopes(wanted ...string) bool {
	if len(wanted) == 0 {
		return true
	}
	has := t.Scopes()
	for _, scope := range wanted {
		if !slices.Contains(has, scope) {
			return false
		}
	}
	return true
}

func parseScopes(value string) []string {
	if list, ok := parseStrings(value); ok {
		return list
	}
	text, _ := unquoteString(value)
	return strings.Fields(text)
}

// setClaim takes one claim. It returns false if the claim is registered and of a
// wrong form.
func (t *Token) setClaim(name, value string) bool {
	ok := true
	switch name {
	case "iss":
		t.Issuer, ok = unquoteString(value)
	case "sub":
		t.Subject, ok = unquoteString(value)
	case "jti":
		t.ID, ok = unquoteString(value)
	case "client_id":
		t.ClientID, ok = unquoteString(value)
	case "azp":
		t.azp, ok = unquoteString(value)
	case "aud":
		ok = t.setAudience(value)
	case "exp":
		t.Expiry, ok = parseDate(value)
	case "nbf":
		t.NotBefore, ok = parseDate(value)
	case "iat":
		t.IssuedAt, ok = parseDate(value)
	case "scope":
		t.scope = value
	case "scp":
		t.scp = value
	}
	return ok
}

// setAudience takes aud: a string or a list of them (RFC 7519 section 4.1.3).
func (t *Token) setAudience(value string) (ok bool) {
	if t.alone[0], ok = unquoteString(value); ok {
		t.Audience = t.alone[:]
		return true
	}
	t.Audience, ok = parseStrings(value)
	return ok
}

// parseStrings reads a list of strings that are not empty.
func parseStrings(value string) (list []string, ok bool) {
	fine := true
	list = []string{}
	isList := eachElement(value, func(element string) {
		text, isString := unquoteString(element)
		fine = fine && isString && text != ""
		list = append(list, text)
	})
	return list, isList && fine
}

// latest is the end of the year 9999. A date beyond it is in milliseconds, and so
// no NumericDate (RFC 7519 section 2).
const latest = 253402300800

// parseDate reads seconds since 1970, with a fraction or not.
func parseDate(value string) (time.Time, bool) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Unix(n, 0).UTC(), 0 <= n && n < latest
	}
	if value == "" || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || f < 0 || f >= latest {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(f * 1e6)).UTC(), true
}
