package keyfile

import (
	"encoding/json"
	"strings"
	"testing"
)

// ended returns the public key of RFC 8037 appendix A.2 with one member more.
func ended(member string) []byte {
	return []byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"` + member + `}`)
}

// Whatever an issuer writes of a revocation is one, unless it says that there is none.
func TestRevokedAtTheIssuer(t *testing.T) {
	for member, is := range map[string]bool{
		"": false, `,"revoked":false`: false, `,"revoked":null`: false, `,"revoked": [ ] `: false,
		`,"revoked":true`: true, `,"revoked":1700000000`: true, `,"revoked":"2023-11-14T22:13:20Z"`: true,
		`,"revoked":{"revoked_at":1700000000,"reason":"compromised"}`: true, `,"revoked": {}`: true,
	} {
		if got := JudgePublic(ended(member)); (got.Stranger == revoked) != is || got.Err != nil {
			t.Errorf("%s: %+v", member, got)
		}
		if _, err := ParsePublic(ended(member)); (err != nil) != is || is && !strings.Contains(err.Error(), revoked) {
			t.Errorf("%s: %v", member, err)
		}
	}
}

// An expiry at the issuer is a time that JSON has, however far it is.
func TestExpiryAtTheIssuer(t *testing.T) {
	for exp, want := range map[string]string{
		"1700000000": "2023-11-14T22:13:20Z", "1700000000.9": "2023-11-14T22:13:20Z", "253402300799": "9999-12-31T23:59:59Z", "253402300800": "9999-12-31T23:59:59Z",
		"1099511627776": "9999-12-31T23:59:59Z", "1e300": "9999-12-31T23:59:59Z", "-5": "1970-01-01T00:00:00Z", "-1e300": "1970-01-01T00:00:00Z",
		"0": "0001-01-01T00:00:00Z", `"never"`: "0001-01-01T00:00:00Z", "null": "0001-01-01T00:00:00Z",
	} {
		set, err := ParsePublic(ended(`,"exp":` + exp))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := json.Marshal(set.Keys[0].Expires); err != nil || string(text) != `"`+want+`"` {
			t.Errorf("%s: %s, %v; want %s", exp, text, err, want)
		}
	}
}
