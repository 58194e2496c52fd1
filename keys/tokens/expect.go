package tokens

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Expectation is what a token is held to beyond its signature.
type Expectation struct {
	Now       time.Time
	Skew      time.Duration // leeway on exp, nbf and iat
	Issuer    string
	Audience  string     // empty: any
	Type      string     // the typ of the header; empty: any
	NotBefore *time.Time // the tenant's: tokens issued earlier are refused
}

// checkType compares the typ as media types are (RFC 7515 section 4.1.9):
// without regard to case, and with "application/" where it was left out.
func (e Expectation) checkType(u *unverified) error {
	if e.Type == "" || mediaType(u.typ) == mediaType(e.Type) {
		return nil
	}
	return fail(CodeWrongType, "the header's typ is not the one asked for")
}

func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if typ == "" || strings.Contains(typ, "/") {
		return typ
	}
	return "application/" + typ
}

// checkClaims checks the claims of RFC 7519 section 4.1 that bear on whether
// the token is valid. A token without exp is no token of this platform.
func (e Expectation) checkClaims(claims map[string]json.RawMessage) error {
	if iss, ok := text(claims["iss"]); !ok || iss != e.Issuer {
		return fail(CodeWrongIssuer, "iss is not the issuer that was expected")
	}
	aud, ok := audiences(claims["aud"])
	if _, given := claims["aud"]; given && !ok {
		return fail(CodeMalformed, "aud is not a string or an array of strings")
	}
	if e.Audience != "" && !slices.Contains(aud, e.Audience) {
		return fail(CodeWrongAudience, "aud does not name the audience asked for")
	}
	return e.checkTimes(claims)
}

func (e Expectation) checkTimes(claims map[string]json.RawMessage) error {
	var exp, nbf, iat float64
	for name, into := range map[string]*float64{"exp": &exp, "nbf": &nbf, "iat": &iat} {
		raw, given := claims[name]
		at, err := strconv.ParseFloat(string(raw), 64)
		if given && err != nil {
			return fail(CodeMalformed, name+" is not a number of seconds")
		}
		if *into = at; !given && name == "exp" {
			return fail(CodeMalformed, "there is no exp")
		}
	}
	now, skew := float64(e.Now.UnixMicro())/1e6, e.Skew.Seconds()
	switch {
	case now >= exp+skew:
		return fail(CodeExpired, "exp has passed")
	case nbf > now+skew:
		return fail(CodeNotYetValid, "nbf has not come")
	case iat > now+skew:
		return fail(CodeNotYetValid, "iat is in the future")
	case e.NotBefore != nil && iat < float64(e.NotBefore.UnixMicro())/1e6:
		return fail(CodeExpired, "issued before the tenant's not_before")
	}
	return nil
}
