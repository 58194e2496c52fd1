package tokens

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// A profile demands its claims, each of them, and no others than those that verifiers
// of its kind demand (RFC 9068 section 2.2; OpenID Connect Core 1.0 section 2).
func TestProfilesDemandClaims(t *testing.T) {
	rules := Rules{Issuer: "https://issuer.example", Now: time.Unix(1e9, 0), DefaultTTL: time.Minute, MaxTTL: time.Hour}
	demands := map[Profile][]string{"": {}, IDToken: {"sub", "aud"}, AccessToken: {"sub", "aud", "client_id"}}
	for profile, names := range demands {
		whole := map[string]any{}
		for _, name := range names {
			whole[name] = "x"
		}
		for _, aud := range []any{"x", []string{"x", "y"}} {
			if whole["aud"] != nil {
				whole["aud"] = aud
			}
			if _, err := rules.Claims(Request{Claims: encode(t, whole), Profile: profile}); err != nil {
				t.Errorf("%s %v: %v", profile, whole, err)
			}
		}
		for _, name := range names {
			for _, bad := range []any{nil, "", 1, []string{}, []string{""}, map[string]any{}} {
				claims := map[string]any{}
				for n, v := range whole {
					claims[n] = v
				}
				if claims[name] = bad; bad == nil {
					delete(claims, name)
				}
				_, err := rules.Claims(Request{Claims: encode(t, claims), Profile: profile})
				var refused *ClaimError
				if !errors.As(err, &refused) || refused.Field != "claims."+name || !errors.Is(err, ErrInvalid) {
					t.Errorf("%s without %s (%v): %v", profile, name, bad, err)
				}
			}
		}
	}
}

// The typ of an access token is that of no other token, however it is spelt.
func TestProfilesChooseTheType(t *testing.T) {
	for _, c := range []struct {
		profile   Profile
		typ, want string // want is empty: refused
	}{
		{"", "", "JWT"},
		{"", "at+jwt", "at+jwt"},
		{"", "secevent+jwt", "secevent+jwt"},
		{AccessToken, "", "at+jwt"},
		{AccessToken, "at+jwt", "at+jwt"},
		{AccessToken, "application/AT+JWT", "application/AT+JWT"},
		{AccessToken, "JWT", ""},
		{IDToken, "", "JWT"},
		{IDToken, "jwt", "jwt"},
		{IDToken, "at+jwt", ""},
		{IDToken, "APPLICATION/at+jwt", ""},
	} {
		got, err := c.profile.Type(c.typ)
		if got != c.want || (err != nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), "profile") {
			t.Errorf("%q %q: %q, %v", c.profile, c.typ, got, err)
		}
	}
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
