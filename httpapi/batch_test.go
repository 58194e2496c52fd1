package httpapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
)

// bodies of signToken: what is plain, nearly plain, and wrong.
var bodies = []string{
	`{"claims":{}}`, ` { "claims" : { "a" : [ 1 , {} ] } , "nbf" : true } `, `{"claims":{"sub":"a","n":1e3},"ttl_seconds":60,"alg":"ES256","typ":"at+jwt"}`,
	`{"claims":{"a":1,"a":2}}`, `{"claims":{"a":{"b":1,"b":2}}}`, `{"claims":{},"claims":{}}`, `{"claims":[]}`, `{"claims":null}`, `{}`, `[]`, `"x"`, `1`, ``,
	`{"claims":{},"ttl_seconds":0}`, `{"claims":{},"ttl_seconds":-1}`, `{"claims":{},"ttl_seconds":1.5}`, `{"claims":{},"ttl_seconds":1e2}`, `{"claims":{},"ttl_seconds":"1"}`,
	`{"claims":{},"ttl_seconds":9223372036854775807}`, `{"claims":{},"ttl_seconds":9223372036854775808}`, `{"claims":{},"ttl_seconds":null}`,
	`{"claims":{},"alg":"none"}`, `{"claims":{},"alg":"HS256"}`, `{"claims":{},"alg":1}`, `{"claims":{},"alg":null}`, `{"claims":{},"typ":""}`, `{"claims":{},"typ":"a b"}`, `{"claims":{},"typ":"a\/b"}`,
	`{"claims":{"sub":"a","aud":"b"},"profile":"id_token"}`, `{"claims":{},"profile":"access_token"}`, `{"claims":{},"profile":"saml"}`, `{"claims":{},"profile":""}`, `{"claims":{},"profile":null}`,
	`{"claims":{},"nbf":"true"}`, `{"claims":{},"nbf":null}`, `{"claims":{},"nbf":false}`, `{"claims":{},"headers":{"x":1}}`, `{"claims":{},"Claims":{}}`, `{"claims":{},"x":1}`,
	`{"cla\u0069ms":{}}`, `{"claims":{"a":"\ud800"}}`, `{"claims":{"a":"\\\"}{"}}`, `{"claims":{}} x`, `{"claims":{}`, "{\"claims\":{\"a\":\"\x80\"}}", `{"claims":{"a":"ü"}}`,
}

// FuzzQuickOrder demands that a body which is read quickly means what the strict
// reader makes of it, or is refused by whoever reads the claims.
func FuzzQuickOrder(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	rules := tokens.Rules{Issuer: "https://issuer.example", Now: time.Unix(1_800_000_000, 0), DefaultTTL: time.Minute, MaxTTL: 1 << 62}
	f.Fuzz(func(t *testing.T, body []byte) {
		quick, plain := quickOrder(body)
		if !plain {
			return
		}
		if !json.Valid(body) {
			t.Errorf("%q is read, and no JSON", body)
		}
		slow, err := decodeOrder(body)
		if _, refused := rules.Claims(quick.Request); err != nil && refused == nil {
			t.Errorf("%q is read, and signed, though %v", body, err)
		}
		if err == nil && !sameOrder(quick, slow) {
			t.Errorf("%q: %+v, %+v", body, quick, slow)
		}
	})
}

// FuzzQuickBatch demands the same of a batch.
func FuzzQuickBatch(f *testing.F) {
	for i, body := range bodies {
		f.Add([]byte(`{"tokens":[` + body + `]}`))
		f.Add([]byte(`{"tokens":[` + body + `,` + bodies[(i+1)%len(bodies)] + `]}`))
	}
	deep := func(n int) string {
		return `{"tokens":[{"claims":{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}]}`
	}
	for _, body := range []string{
		deep(strictjson.MaxDepth - 4), deep(strictjson.MaxDepth - 3), strings.Repeat("[", 1000), `{"tokens":[1 2]}`, `{"tokens":[{"a":tru}]}`, `{"tokens":[{"a":01}]}`, `{"tokens":["\x"]}`, `{"tokens":["\`, `{"tokens":[-]}`,
		`{"tokens":[]}`, `{"tokens":{}}`, `{"tokens":[{}],"x":1}`, `{"tokens":[{}],"tokens":[{}]}`, `{"tokens":[1],}`, `{"token":[{}]}`, `{"tokens":[[]]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		quick, plain := quickBatch(body)
		if !plain {
			return
		}
		slow, err := decodeBatch(body)
		if err != nil {
			t.Fatalf("%q is read though %v", body, err)
		}
		if len(quick) != len(slow) {
			t.Fatalf("%q: %d entries, %d", body, len(quick), len(slow))
		}
		for i := range slow {
			if !bytes.Equal(quick[i].raw, bytes.TrimSpace(slow[i].raw)) {
				t.Errorf("%q: %q, %q", body, quick[i].raw, slow[i].raw)
			}
			there, plain := quickOrder(slow[i].raw)
			alone, plainAlone := quickOrder(quick[i].raw)
			if plain != plainAlone || plain && !sameOrder(there, alone) {
				t.Errorf("%q: %+v %t, alone %+v %t", body, there, plain, alone, plainAlone)
			}
		}
	})
}

func sameOrder(a, b signing.Order) bool {
	ttlA, ttlB := valueOr(a.TTLSeconds, 0), valueOr(b.TTLSeconds, 0)
	a.TTLSeconds, b.TTLSeconds = nil, nil
	return ttlA == ttlB && reflect.DeepEqual(a, b)
}

// The plain ones among them are read quickly, or the quick way would be of no use.
func TestUsualBodiesAreReadQuickly(t *testing.T) {
	for _, body := range bodies[:3] {
		if _, plain := quickOrder([]byte(body)); !plain {
			t.Errorf("%s is not plain", body)
		}
		if entries, plain := quickBatch([]byte(`{"tokens":[` + body + `]}`)); !plain || string(entries[0].raw) != strings.TrimSpace(body) {
			t.Errorf("%s is not plain in a batch", body)
		}
	}
}

func TestTokensAreWrittenAsJSONWrites(t *testing.T) {
	token := signing.Token{
		Token: "eyJh.eyJp.c2ln", KID: "a-._~Z9", Alg: "EdDSA", IssuedAt: time.Unix(1_800_000_000, 0).UTC(), ExpiresAt: time.Unix(1_800_000_900, 0).UTC(),
	}
	for _, v := range []any{
		SignedToken{Token: token.Token, KID: token.KID, Alg: Alg(token.Alg), IssuedAt: token.IssuedAt, ExpiresAt: token.ExpiresAt},
		BatchResult{Token: &token.Token, KID: &token.KID, Alg: new(Alg(token.Alg)), IssuedAt: &token.IssuedAt, ExpiresAt: &token.ExpiresAt},
	} {
		want, err := json.Marshal(v)
		if got := appendToken(nil, token); err != nil || string(got) != string(want) {
			t.Errorf("%s\n%s %v", got, want, err)
		}
	}
}

// verifications of verifyToken: what is plain, nearly plain, and wrong.
var verifications = []string{
	`{"token":"a.b.c"}`, ` { "token" : "a.b.c" , "audience":"x","issuer":"https://a.example","typ":"JWT" } `, `{"token":""}`, `{"token":"a","token":"b"}`, `{"token":1}`, `{"token":null}`, `{}`, `[]`, ``, `x`,
	`{"token":"a\u002eb"}`, `{"token":"a","audience":""}`, `{"token":"a","any_issuer":true}`, `{"token":"a","algorithms":["ES256"]}`, `{"token":"a","x":"y"}`, `{"token":"a"} x`, `{"token":"a",}`, `{"to\u006ben":"a"}`,
	"{\"token\":\"\x80\"}", `{"token":"\ud800"}`, `{"Token":"a"}`, `{"token":"ü"}`,
}

// FuzzQuickVerification demands that a body which is read quickly means what the strict
// reader makes of it.
func FuzzQuickVerification(f *testing.F) {
	for _, body := range verifications {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		quick, plain := quickVerification(body)
		if !plain {
			return
		}
		var slow VerifyTokenRequest
		if err := decodeStrict(body, &slow); err != nil || !reflect.DeepEqual(quick, slow) {
			t.Errorf("%q: %+v, %+v, %v", body, quick, slow, err)
		}
	})
}

func TestVerdictsAreWrittenAsJSONWrites(t *testing.T) {
	for _, body := range verifications[:2] {
		if _, plain := quickVerification([]byte(body)); !plain {
			t.Errorf("%s is not plain", body)
		}
	}
	kid, state := "a\"ü<\u2028", KeyState("deprecated")
	for _, object := range []string{`{}`, `{"a":"\ud800"}`, `{"a":"<&>\u0041\u2028ü/\/"}`, `{"n":1.0e+30,"m":[1,null]}`, `{ "a" : "b c" }`, "{\"a\":\r\n1}"} {
		for _, valid := range []bool{true, false} {
			r := VerifyTokenResult{Valid: valid, Claims: new(JSONObject(object)), Header: new(JSONObject(object)), KID: &kid, KeyState: &state}
			want, err := encodeJSON(r)
			if got, gotErr := encodeVerdict(r); err != nil || gotErr != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %s\n%s %v %v", object, got, want, err, gotErr)
			}
		}
	}
}
