package tokens

import (
	"encoding/json"
	"slices"
)

// Profile is what a token is for, and so what it must have.
type Profile string

// The profiles. The empty one demands nothing.
const (
	AccessToken Profile = "access_token" // RFC 9068
	IDToken     Profile = "id_token"     // OpenID Connect Core 1.0 section 2
)

// TypeAccessToken is the typ of access tokens (RFC 9068 section 2.1).
const TypeAccessToken = "at+jwt"

// Valid reports whether the profile exists.
func (p Profile) Valid() bool { return p == "" || p == AccessToken || p == IDToken }

// Type returns the typ of a token with this profile, of which typ was requested; empty:
// none was. A verifier tells access tokens from others by typ, so that neither passes
// for the other (RFC 9068 section 4). Errors: *[ClaimError].
func (p Profile) Type(typ string) (string, error) {
	access := mediaType(typ) == mediaType(TypeAccessToken)
	switch {
	case p == AccessToken && typ != "" && !access:
		return "", Invalid("typ", "contradicts the profile: that of access tokens is "+TypeAccessToken)
	case p == IDToken && access:
		return "", Invalid("typ", "contradicts the profile: it is that of access tokens")
	case typ != "":
		return typ, nil
	case p == AccessToken:
		return TypeAccessToken, nil
	}
	return TypeJWT, nil
}

// checkClaims refuses claims without those that the profile demands of the caller. The
// platform adds iss, exp, iat and jti. Errors: *[ClaimError].
func (p Profile) checkClaims(claims map[string]json.RawMessage) error {
	if p == "" {
		return nil
	}
	names := []string{"sub", "aud"}
	if p == AccessToken {
		names = append(names, "client_id")
	}
	for _, name := range names {
		if !hasText(name, claims[name]) {
			return Invalid("claims."+name, "is demanded by the profile "+string(p))
		}
	}
	return nil
}

// hasText reports whether a claim is a string that is not empty; an audience may be an
// array of them, with at least one.
func hasText(name string, raw json.RawMessage) bool {
	if name == "aud" {
		all, ok := parseAudience(raw)
		return ok && len(all) > 0 && !slices.Contains(all, "")
	}
	text, ok := unquoteString(raw)
	return ok && text != ""
}
