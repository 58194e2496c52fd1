package jwks

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"
)

// Wycheproof's signatures in the forms that JWS uses, each with a key that is read
// as a JWK. Messages are arbitrary, so the key is asked itself.
func TestWycheproofSignatures(t *testing.T) {
	var groups []struct {
		File, Alg string
		JWK       json.RawMessage
		Tests     [][4]any // number, message, signature, valid
	}
	raw, err := os.ReadFile("testdata/wycheproof/signatures.json")
	if err == nil {
		err = json.Unmarshal(raw, &groups)
	}
	if err != nil {
		t.Fatal(err)
	}
	accepted, refused := 0, 0
	for _, group := range groups {
		alg := algorithmByName(group.Alg)
		key, _, err := parseKey(string(group.JWK))
		if err != nil || !key.accepts(alg) {
			t.Errorf("%s: %s: %v", group.File, group.JWK, err)
			continue
		}
		for _, test := range group.Tests {
			message, _ := base64.RawURLEncoding.DecodeString(test[1].(string))
			signature, _ := base64.RawURLEncoding.DecodeString(test[2].(string))
			got := key.verify(alg, message, signature)
			if got != test[3].(bool) {
				t.Errorf("%s %v: verified %t", group.File, test[0], got)
			}
			if got {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted+refused != 1614 || accepted < 750 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
}
