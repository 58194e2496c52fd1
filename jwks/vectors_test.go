package jwks_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyward/keyward/jwks"
)

// readJSON reads a file of testdata.
func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// holding is a client that has these keys, and no network.
func holding(t testing.TB, keys ...json.RawMessage) *jwks.Client {
	t.Helper()
	set, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	client, err := jwks.New(jwks.Config{Local: jwks.Static(set)})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The examples of RFC 7515, RFC 7520, RFC 8037 and RFC 9964. They are about signatures
// over any payload, so [jwks.Client.VerifySignature] is asked.
//
// Of RFC 7520 sections 4.5 to 4.8 only what can be written as a compact token is
// accepted. A JSON Web Token has no other form (RFC 7519 section 1): a detached
// payload is none that a token could carry, and the JSON serializations allow
// headers that no signature protects, and several signatures, of which someone
// would have to say which count. They are refused, as are HMACs.
func TestExamplesOfTheStandards(t *testing.T) {
	var examples []struct {
		Name, JWS, Payload string
		Key                json.RawMessage
		Refused            bool
	}
	readJSON(t, "rfc.json", &examples)
	if len(examples) != 20 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		t.Run(example.Name, func(t *testing.T) {
			client := holding(t, example.Key)
			payload, err := client.VerifySignature(t.Context(), example.JWS)
			if example.Refused {
				if err == nil {
					t.Error("it was accepted")
				}
				return
			}
			if err != nil || string(payload) != example.Payload {
				t.Fatalf("%q, %v", payload, err)
			}
			parts := strings.Split(example.JWS, ".")
			for _, other := range []string{
				parts[0] + ".." + parts[2], // RFC 7515 appendix F
				fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
			} {
				if _, err := client.VerifySignature(t.Context(), other); err == nil {
					t.Errorf("accepted as %s", other)
				}
			}
			for at := 0; at < len(example.JWS); at += 1 + len(example.JWS)/200 {
				bad := []byte(example.JWS)
				bad[at] ^= 1
				if _, err := client.VerifySignature(t.Context(), string(bad)); err == nil {
					t.Fatalf("accepted with byte %d changed", at)
				}
			}
		})
	}
}

// Wycheproof calls these valid; here they are not, because the key's own alg is
// another than the signature's: 346 and 350 say PS256 and are PS384, the keys of
// 347 and 351 say "ES521", which is no algorithm.
var stricter = []int{346, 347, 350, 351}

func TestWycheproof(t *testing.T) {
	var vectors struct {
		TestGroups []struct {
			Comment string
			Public  json.RawMessage
			Tests   []struct {
				TcID                 int
				Comment, JWS, Result string
			}
		}
	}
	readJSON(t, "wycheproof/json_web_signature_test.json", &vectors)
	valid, invalid := 0, 0
	for _, group := range vectors.TestGroups {
		symmetric := string(group.Public) == `{"kty":"oct"}`
		client := holding(t, group.Public)
		for _, test := range group.Tests {
			_, err := client.VerifySignature(t.Context(), test.JWS)
			accept := test.Result == "valid" && !symmetric && !slices.Contains(stricter, test.TcID)
			if accept != (err == nil) {
				t.Errorf("%d (%s, %s): %v, but the vector is %s", test.TcID, group.Comment, test.Comment, err, test.Result)
			}
			if accept {
				valid++
			} else {
				invalid++
			}
		}
	}
	if valid != 32 || valid+invalid != 401 {
		t.Errorf("%d accepted, %d refused", valid, invalid)
	}
}

// Wycheproof's key sets. Those of symmetric keys alone are not for this package,
// whatever the data says of them.
func TestWycheproofKeys(t *testing.T) {
	var vectors struct {
		TestGroups []struct {
			Comment string
			Public  struct{ Keys []json.RawMessage }
			Tests   []struct {
				TcID                 int
				Comment, JWS, Result string
			}
		}
	}
	readJSON(t, "wycheproof/json_web_key_test.json", &vectors)
	accepted, refused := 0, 0
	for _, group := range vectors.TestGroups {
		symmetric := true
		for _, key := range group.Public.Keys {
			symmetric = symmetric && strings.Contains(string(key), `"oct"`)
		}
		client := holding(t, group.Public.Keys...)
		for _, test := range group.Tests {
			_, err := client.VerifySignature(t.Context(), test.JWS)
			if accept := test.Result == "valid" && !symmetric; accept != (err == nil) {
				t.Errorf("%d (%s, %s): %v, but the vector is %s", test.TcID, group.Comment, test.Comment, err, test.Result)
			}
			if err == nil {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted != 1 || refused != 25 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
}

// A signature by a key of the largest size that is accepted verifies.
func TestLargestRSAKey(t *testing.T) {
	var vector struct {
		JWK   json.RawMessage
		Token string
	}
	readJSON(t, "rsa8192.json", &vector)
	client := holding(t, vector.JWK)
	if _, err := client.VerifySignature(t.Context(), vector.Token); err != nil {
		t.Error(err)
	}
	if _, err := client.VerifySignature(t.Context(), vector.Token[:len(vector.Token)-8]+"AAAAAAAA"); err == nil {
		t.Error("another signature verifies")
	}
}
