package jwks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
)

// members of a JWK.
type members map[string]any

func (m members) with(more members) json.RawMessage {
	all := members{}
	for _, of := range []members{m, more} {
		for name, value := range of {
			all[name] = value
		}
	}
	raw, _ := json.Marshal(all)
	return raw
}

// rsaJWK and ecJWK are fresh keys with nothing but their numbers.
func rsaJWK(t *testing.T, bits int) members {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return members{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": "AQAB"}
}

func ecJWK(t *testing.T) members {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, _ := key.PublicKey.Bytes()
	encode := base64.RawURLEncoding.EncodeToString
	return members{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
}

// x5c is a certificate of some other key, as a chain in a JWK.
func x5c(t *testing.T) []string {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return []string{base64.StdEncoding.EncodeToString(der)}
}

// The documents have the shape that each provider documents; the keys are ours.
func TestDocumentsOfProviders(t *testing.T) {
	one, two, ec := rsaJWK(t, 2048), rsaJWK(t, 2048), ecJWK(t)
	for name, test := range map[string]struct {
		keys []json.RawMessage
		want string // kid:alg of each signing key
	}{
		"Google": {[]json.RawMessage{
			one.with(members{"alg": "RS256", "use": "sig", "kid": "b1c4"}),
			two.with(members{"alg": "RS256", "use": "sig", "kid": "a0f2"}),
		}, "b1c4:RS256 a0f2:RS256"},
		"Microsoft, without alg, with x5c": {[]json.RawMessage{
			one.with(members{"use": "sig", "kid": "nOo3", "x5t": "nOo3", "x5c": x5c(t), "issuer": "https://login.example/{tenantid}/v2.0", "cloud_instance_name": "example"}),
		}, "nOo3:RS256"},
		"Auth0, with x5c": {[]json.RawMessage{
			one.with(members{"alg": "RS256", "use": "sig", "kid": "NkJC", "x5t": "NkJC", "x5c": x5c(t)}),
		}, "NkJC:RS256"},
		"Okta, with status": {[]json.RawMessage{
			one.with(members{"alg": "RS256", "use": "sig", "kid": "rWq-", "status": "ACTIVE", "_links": map[string]any{"self": "x"}}),
			two.with(members{"alg": "RS256", "use": "sig", "kid": "next"}),
		}, "rWq-:RS256 next:RS256"},
		"Apple": {[]json.RawMessage{
			one.with(members{"kid": "W6WcOKB", "use": "sig", "alg": "RS256"}), two.with(members{"kid": "YuyXoY", "use": "sig", "alg": "RS256"}),
		}, "W6WcOKB:RS256 YuyXoY:RS256"},
		"Keycloak, with an encryption key": {[]json.RawMessage{
			one.with(members{"kid": "enc", "alg": "RSA-OAEP", "use": "enc"}), two.with(members{"kid": "sig", "alg": "RS256", "use": "sig"}),
		}, "sig:RS256"},
		"neither use nor alg": {[]json.RawMessage{ec.with(members{"kid": "e"})}, "e:ES256"},
		"key_ops":             {[]json.RawMessage{ec.with(members{"kid": "v", "key_ops": []string{"verify"}}), one.with(members{"kid": "w", "key_ops": []string{"wrapKey"}})}, "v:ES256"},
		"an unknown type": {[]json.RawMessage{
			members{"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA"}.with(nil), ec.with(members{"kid": "e"}),
		}, "e:ES256"},
		"an unknown curve":     {[]json.RawMessage{members{"kty": "OKP", "crv": "Ed448", "x": "AAAA"}.with(nil), ec.with(members{"kid": "e"})}, "e:ES256"},
		"a key twice":          {[]json.RawMessage{ec.with(members{"kid": "e"}), ec.with(members{"kid": "e", "use": "sig"})}, "e:ES256"},
		"a weak key":           {[]json.RawMessage{rsaJWK(t, 1024).with(members{"kid": "weak"}), ec.with(members{"kid": "e"})}, "e:ES256"},
		"alg of another type":  {[]json.RawMessage{one.with(members{"kid": "r", "alg": "ES256"}), ec.with(members{"kid": "e"})}, "e:ES256"},
		"alg of another curve": {[]json.RawMessage{ec.with(members{"kid": "r", "alg": "ES384"}), ec.with(members{"kid": "e"})}, "e:ES256"},
		"symmetric algorithm":  {[]json.RawMessage{one.with(members{"kid": "r", "alg": "HS256"}), ec.with(members{"kid": "e"})}, "e:ES256"},
		"nonsense": {[]json.RawMessage{
			[]byte(`null`), []byte(`7`), []byte(`{"kty":7}`), []byte(`{"kty":"EC","crv":"P-256"}`), ec.with(members{"x": "AAAA"}),
			ec.with(members{"kid": "e"}),
		}, "e:ES256"},
		"a private key":   {[]json.RawMessage{one.with(members{"kid": "oops", "d": "AQAB"}), ec.with(members{"kid": "e"})}, "e:ES256"},
		"a symmetric key": {[]json.RawMessage{members{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}.with(nil), ec.with(members{"kid": "e"})}, "e:ES256"},
		"a disguised key": {[]json.RawMessage{ec.with(members{"kid": "k", "k": "c2VjcmV0"}), ec.with(members{"kid": "e"})}, "e:ES256"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := holding(t, test.keys...).Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, key := range keys {
				got = append(got, key.ID()+":"+string(key.Algorithm()))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAKidThatSeveralKeysHaveIsNoKey(t *testing.T) {
	r, e := rsaJWK(t, 2048), ecJWK(t)
	client := holding(t, r.with(members{"kid": "k"}), e.with(members{"kid": "k"}), e.with(members{"kid": "other"}))
	wants(t, client, "k", jwks.ErrSigningKeyNotFound)
	wants(t, client, "", jwks.ErrSigningKeyNotFound) // no kid, several keys
	key, err := client.PublicKeyFor(t.Context(), map[string]any{"alg": "ES256", "kid": "k"})
	if _, isEC := key.(*ecdsa.PublicKey); err != nil || !isEC {
		t.Errorf("the algorithm tells them apart, but: %T, %v", key, err)
	}
	alone := holding(t, e.with(members{"kid": "k"}))
	if key, err := alone.Key(t.Context(), ""); err != nil || key.ID() != "k" {
		t.Errorf("no kid, one key: %v", err)
	}
}

func TestSkippedKeysAreTold(t *testing.T) {
	var skipped []string
	set := `{"keys":[{"kty":"oct","kid":"a","k":"AAAA"},{"kty":"AKP","kid":"b"},{"kty":"RSA","use":"enc","kid":"c"}]}`
	client, err := jwks.New(jwks.Config{Local: jwks.Static([]byte(set)), OnSkip: func(kid string, reason error) {
		if reason == nil {
			t.Error("no reason")
		}
		skipped = append(skipped, kid)
	}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, client, "a", jwks.ErrNoSigningKeys)
	if !errors.Is(jwks.ErrNoSigningKeys, jwks.ErrJWKS) || !slices.Equal(skipped[:3], []string{"a", "b", "c"}) || client.Stats().Skipped < 3 {
		t.Error(skipped, client.Stats())
	}
}
