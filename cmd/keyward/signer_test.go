package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/client/signer"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/keys"
)

// signerWorld is a running Keyward with a tenant acme that signs with every algorithm, and
// a client with the role tenant_signer.
func signerWorld(t *testing.T) (env environ, c *client.Client, issuer string) {
	t.Helper()
	env = served(t)
	admin, err := client.New(env["KEYWARD_URL"], env["KEYWARD_API_KEY"])
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range keys.Algorithms() {
		if alg != jose.EdDSA { // it has that one
			ok(t, env, "policy", "put", string(alg), "--tenant=acme")
		}
	}
	made, err := admin.CreateTenantAPIKey(t.Context(), "acme", client.CreateTenantAPIKeyJSONRequestBody{Role: "tenant_signer", Name: new("signer")})
	if err != nil {
		t.Fatal(err)
	}
	if c, err = client.New(env["KEYWARD_URL"], made.Key); err != nil {
		t.Fatal(err)
	}
	return env, c, env["KEYWARD_URL"] + "/t/acme"
}

// options are what the interfaces of package crypto are given for an algorithm.
func options(alg jose.SignatureAlgorithm) crypto.SignerOpts {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[string(alg)[2:]]
	if strings.HasPrefix(string(alg), "PS") {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	return hash
}

// verifies reports whether Go's own packages verify a signature.
func verifies(pub crypto.PublicKey, opts crypto.SignerOpts, message, signature []byte) bool {
	digest := message
	if hash := opts.HashFunc(); hash != 0 {
		h := hash.New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case *mldsa.PublicKey:
		return mldsa.Verify(k, message, signature, nil) == nil
	case *rsa.PublicKey:
		if pss, is := opts.(*rsa.PSSOptions); is {
			return rsa.VerifyPSS(k, pss.Hash, digest, signature, pss) == nil
		}
		return rsa.VerifyPKCS1v15(k, opts.HashFunc(), digest, signature) == nil
	}
	return false
}

// With every algorithm go-jose signs by the API what package jwks, go-jose and Go's own
// packages verify, and a message signer of package crypto does too.
func TestSignerOfEveryAlgorithm(t *testing.T) {
	env, c, issuer := signerWorld(t)
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: issuer, Audience: []string{"api"}, Algorithms: keys.Algorithms(),
		Keys: jwks.Config{URL: issuer + "/.well-known/jwks.json", AllowHTTP: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := fmt.Appendf(nil, `{"iss":%q,"aud":"api","sub":"alice","iat":%d,"exp":%d}`, issuer, time.Now().Unix(), time.Now().Add(time.Minute).Unix())
	for _, alg := range keys.Algorithms() {
		s, err := signer.New(t.Context(), c, "acme", alg)
		if err != nil {
			t.Fatal(alg, err)
		}
		js, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: s.Opaque()}, new(jose.SignerOptions).WithType("JWT").WithHeader("cty", "x"))
		if err != nil {
			t.Fatal(alg, err)
		}
		jws, err := js.Sign(claims)
		if err != nil {
			t.Fatal(alg, err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(alg, err)
		}
		if got, err := verifier.Verify(t.Context(), token); err != nil || got.Subject != "alice" {
			t.Errorf("%s: package jwks: %+v, %v", alg, got, err)
		}
		if r := keyward(t, env, "token", "verify", "--tenant=acme", "--audience=api", token); r.code != exitOK {
			t.Errorf("%s: tokens/verify: %s", alg, r.stdout)
		}
		if alg != keys.Ed25519 && keys.KeyType(alg) != "AKP" { // go-jose verifies these by other names or not at all
			if payload, err := jws.Verify(s.Public()); err != nil || !bytes.Equal(payload, claims) {
				t.Errorf("%s: go-jose: %s, %v", alg, payload, err)
			}
		}
		input := []byte(token[:strings.LastIndexByte(token, '.')])
		signature, err := crypto.SignMessage(s, rand.Reader, input, options(alg))
		if err != nil || !verifies(s.Public(), options(alg), input, signature) {
			t.Errorf("%s: crypto.SignMessage: %x, %v", alg, signature, err)
		}
		switch signature, err = s.Sign(rand.Reader, input, options(alg)); {
		case options(alg).HashFunc() == 0 && (err != nil || !verifies(s.Public(), options(alg), input, signature)):
			t.Errorf("%s: Sign: %x, %v", alg, signature, err)
		case options(alg).HashFunc() != 0 && !errors.Is(err, signer.ErrDigest):
			t.Errorf("%s: Sign: %v, want ErrDigest", alg, err)
		}
		unencoded, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: s.Opaque()}, new(jose.SignerOptions).WithBase64(false))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unencoded.Sign([]byte("a.b \x00")); err != nil {
			t.Errorf("%s: an unencoded payload: %v", alg, err)
		}
	}
	if s, err := signer.New(t.Context(), c, "acme", ""); err != nil || s.Alg() != jose.EdDSA {
		t.Errorf("the default algorithm: %v, %v", s, err)
	}
	if _, err := signer.New(t.Context(), c, "acme", jose.HS256); !errors.Is(err, signer.ErrNoKey) {
		t.Error(err)
	}
}

// A signer goes on after a rotation, and nothing that it is given escapes the rules of
// tokens.
func TestSignerKeepsTheRules(t *testing.T) {
	env, c, issuer := signerWorld(t)
	s, err := signer.New(t.Context(), c, "acme", jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.Opaque()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := s.KID()
	ok(t, env, "key", "rotate", "--tenant=acme", "--alg=ES256", "--yes")
	if _, err := js.Sign([]byte("x")); !errors.Is(err, signer.ErrKeyChanged) || s.KID() == before {
		t.Errorf("after a rotation: %v, kid %s after %s", err, s.KID(), before)
	}
	if _, err := js.Sign([]byte("x")); err != nil {
		t.Errorf("once more: %v", err)
	}
	for _, payload := range []string{
		`{"sub":"alice"}`, `{}`, fmt.Sprintf(`{"iss":%q,"exp":99999999999}`, issuer), `{"exp":1}`, `{"iss":"https://other.example","exp":` + fmt.Sprint(time.Now().Unix()+60) + `}`,
	} {
		var p *client.Problem
		if _, err := js.Sign([]byte(payload)); !errors.As(err, &p) || p.Code != client.ProblemCodePolicyViolation && p.Code != client.ProblemCodeInvalidRequest {
			t.Errorf("%s is signed: %v", payload, err)
		}
	}
	head := func(more string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"` + s.KID() + `"` + more + `}`))
	}
	for _, header := range []string{
		head(`,"jku":"https://evil.example"`), head(`,"jwk":{}`), head(`,"x5c":[]`), head(`,"b64":true`), head(`,"b64":false`), head(`,"crit":["b64"]`),
		head(`,"crit":["exp"],"exp":1`), head(`,"typ":"keyward-checkpoint+jwt"`), head(`,"typ":"jwk-set+jwt"`), head(`,"typ":1`), head(`,"KID":"x"`), head(`,"kid":"x"`),
		base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"` + s.KID() + `"}`)), base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)),
		base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"` + s.KID() + `"}`)),
	} {
		var p *client.Problem
		text, _ := base64.RawURLEncoding.DecodeString(header)
		if _, err := crypto.SignMessage(s, nil, []byte(header+".eA"), crypto.SHA256); !errors.As(err, &p) && !errors.Is(err, signer.ErrKeyChanged) {
			t.Errorf("%s is signed: %v", text, err)
		}
		if _, err := c.SignPayload(t.Context(), "acme", client.SignPayloadRequest{Payload: "eA", Protected: &header, Typ: new("x")}); err == nil {
			t.Errorf("%s is signed beside a typ", text)
		}
	}
	for _, message := range []string{"", "x", "a.b", "e30", head("") + ".!", string(make([]byte, 32))} {
		if _, err := crypto.SignMessage(s, nil, []byte(message), crypto.SHA256); !errors.Is(err, signer.ErrNotJWS) {
			t.Errorf("%q: %v, want ErrNotJWS", message, err)
		}
	}
	if _, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, s); !errors.Is(err, signer.ErrNotJWS) && !errors.Is(err, signer.ErrDigest) {
		t.Errorf("a certificate request: %v", err)
	}
	for _, opts := range []crypto.SignerOpts{crypto.SHA384, crypto.Hash(0), nil, &rsa.PSSOptions{Hash: crypto.SHA256}} {
		if _, err := s.SignMessage(nil, []byte(head("")+".eA"), opts); !errors.Is(err, signer.ErrDigest) {
			t.Errorf("%v: %v, want ErrDigest", opts, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := signer.New(ctx, c, "acme", jose.ES256); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// keyward dev signs tokens that have expired already, which verifiers refuse as such;
// keyward serve does not.
func TestExpiredTokensOfDev(t *testing.T) {
	env, dir := deployed(t), t.TempDir()
	r := launch(t, environ{"KEYWARD_DATABASE_URL": env["KEYWARD_DATABASE_URL"]}, "dev", "--addr=127.0.0.1:0", "--data-dir="+dir, "--log-format=text")
	dev := environ{"KEYWARD_URL": r.until(t, `msg=serving url=(\S+)`)[1], "KEYWARD_TENANT": demoSlug}
	key, err := readKey(filepath.Join(dir, adminKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	dev["KEYWARD_API_KEY"] = key
	for _, args := range [][]string{{"--expired=1h"}, {`--claims={"exp":1700000000}`}} {
		token := ok(t, dev, append([]string{"token", "sign"}, args...)...)
		keyward(t, dev, "token", "verify", token).want(t, exitFailed, "expired")
	}
	serve := servedOn(t, deployed(t))
	serve["KEYWARD_TENANT"] = "acme"
	keyward(t, serve, "token", "sign", "--expired=1h").want(t, exitFailed, "ttl_seconds")
	keyward(t, serve, "token", "sign", `--claims={"exp":1700000000}`).want(t, exitFailed, "exp")
	keyward(t, serve, "token", "sign", "--expired=1h", "--ttl=1h").want(t, exitUsage, "--ttl")
}
