package jwks_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

var every = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jwks.Ed25519,
}

// newVerifier accepts tokens of the issuer for "orders".
func newVerifier(t *testing.T, issuer *jwkstest.Issuer, config jwks.VerifierConfig) *jwks.Verifier {
	t.Helper()
	if config.Algorithms == nil {
		config.Algorithms = every
	}
	if config.Audience == nil && !config.AnyAudience {
		config.Audience = []string{"orders"}
	}
	config.Issuer, config.Keys.HTTPClient = issuer.URL, issuer.Client()
	verifier, err := jwks.NewVerifier(config)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

func TestEveryAlgorithm(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	for _, alg := range every {
		issuer.Add("key-"+string(alg), alg)
	}
	all := newVerifier(t, issuer, jwks.VerifierConfig{})
	for _, alg := range every {
		raw := issuer.Token("key-"+string(alg), jwkstest.Claims{"aud": "orders", "sub": "me"})
		token, err := all.Verify(t.Context(), raw)
		if err != nil || token.Algorithm != alg || token.Subject != "me" || token.KeyID != "key-"+string(alg) {
			t.Errorf("%s: %+v, %v", alg, token, err)
		}
		only := newVerifier(t, issuer, jwks.VerifierConfig{Algorithms: []jose.SignatureAlgorithm{alg}})
		for _, other := range every {
			_, err := only.Verify(t.Context(), issuer.Token("key-"+string(other), jwkstest.Claims{"aud": "orders"}))
			if (err == nil) != (alg == other) || err != nil && !errors.Is(err, jwks.ErrAlgorithm) {
				t.Errorf("%s, where only %s is accepted: %v", other, alg, err)
			}
		}
	}
}

// RFC 9864 gives one algorithm a second name: a key labelled with one verifies
// what is labelled with the other, if the verifier accepts that name.
func TestEd25519ByEitherName(t *testing.T) {
	issuer := jwkstest.New(issuerURL, jose.EdDSA)
	claims := []byte(fmt.Sprintf(`{"iss":%q,"aud":"orders","exp":%d}`, issuer.URL, time.Now().Add(time.Hour).Unix()))
	raw := issuer.Sign("1", map[string]any{"alg": "Ed25519"}, claims)
	if _, err := newVerifier(t, issuer, jwks.VerifierConfig{}).Verify(t.Context(), raw); err != nil {
		t.Error(err)
	}
	old := newVerifier(t, issuer, jwks.VerifierConfig{Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}})
	if _, err := old.Verify(t.Context(), raw); !errors.Is(err, jwks.ErrAlgorithm) {
		t.Error(err)
	}
}

// The algorithm of the token is never believed over that of the key.
func TestAnAlgorithmThatIsNotTheKeys(t *testing.T) {
	issuer := jwkstest.New(issuerURL, jose.RS256, jose.ES256)
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{})
	for _, alg := range []string{"PS256", "RS384", "ES256", "EdDSA", "HS256", "none", "None", "", "rs256"} {
		raw := issuer.Sign("1", map[string]any{"alg": alg}, []byte(fmt.Sprintf(`{"iss":%q}`, issuer.URL)))
		if _, err := verifier.Verify(t.Context(), raw); !errors.Is(err, jwks.ErrAlgorithm) && !errors.Is(err, jwks.ErrMalformed) {
			t.Errorf("%q: %v", alg, err)
		}
	}
}

func TestClaims(t *testing.T) {
	now := time.Now().Unix()
	for name, test := range map[string]struct {
		claims jwkstest.Claims
		change func(*jwks.VerifierConfig)
		want   error
	}{
		"good":                  {jwkstest.Claims{}, nil, nil},
		"audience in a list":    {jwkstest.Claims{"aud": []string{"x", "orders"}}, nil, nil},
		"other audience":        {jwkstest.Claims{"aud": "order"}, nil, jwks.ErrAudience},
		"other audiences":       {jwkstest.Claims{"aud": []string{"a", "b"}}, nil, jwks.ErrAudience},
		"no audience":           {jwkstest.Claims{"aud": nil}, nil, jwks.ErrAudience},
		"any audience":          {jwkstest.Claims{"aud": nil}, func(c *jwks.VerifierConfig) { c.Audience, c.AnyAudience = nil, true }, nil},
		"an audience that is 7": {jwkstest.Claims{"aud": 7}, nil, jwks.ErrClaim},
		"a 7 among audiences":   {jwkstest.Claims{"aud": []any{"orders", 7}}, nil, jwks.ErrClaim},
		"other issuer":          {jwkstest.Claims{"iss": issuerURL + "/"}, nil, jwks.ErrIssuer},
		"no issuer":             {jwkstest.Claims{"iss": nil}, nil, jwks.ErrIssuer},
		"no expiry":             {jwkstest.Claims{"exp": nil}, nil, jwks.ErrClaim},
		"no expiry needed":      {jwkstest.Claims{"exp": nil}, func(c *jwks.VerifierConfig) { c.NoExpiry = true }, nil},
		"expired":               {jwkstest.Claims{"exp": now - 10}, nil, jwks.ErrExpired},
		"expired within skew":   {jwkstest.Claims{"exp": now - 10}, func(c *jwks.VerifierConfig) { c.Skew = time.Minute }, nil},
		"expires now":           {jwkstest.Claims{"exp": now}, nil, jwks.ErrExpired},
		"expiry as text":        {jwkstest.Claims{"exp": "9999999999"}, nil, jwks.ErrClaim},
		"expiry in ms":          {jwkstest.Claims{"exp": now * 1000}, nil, jwks.ErrClaim},
		"expiry with fraction":  {jwkstest.Claims{"exp": float64(now) + 99.5}, nil, nil},
		"negative expiry":       {jwkstest.Claims{"exp": -1}, nil, jwks.ErrClaim},
		"not yet":               {jwkstest.Claims{"nbf": now + 30}, nil, jwks.ErrNotYetValid},
		"not yet within skew":   {jwkstest.Claims{"nbf": now + 30}, func(c *jwks.VerifierConfig) { c.Skew = time.Minute }, nil},
		"too old":               {jwkstest.Claims{"iat": now - 100}, func(c *jwks.VerifierConfig) { c.MaxTokenAge = time.Minute }, jwks.ErrExpired},
		"of unknown age":        {jwkstest.Claims{"iat": nil}, func(c *jwks.VerifierConfig) { c.MaxTokenAge = time.Minute }, jwks.ErrClaim},
		"from the future":       {jwkstest.Claims{"iat": now + 90}, func(c *jwks.VerifierConfig) { c.MaxTokenAge = time.Minute }, jwks.ErrNotYetValid},
		"before the epoch":      {jwkstest.Claims{"iat": now - 100}, func(c *jwks.VerifierConfig) { c.IssuedSince = time.Unix(now-50, 0) }, jwks.ErrExpired},
		"after the epoch":       {jwkstest.Claims{"iat": now - 10}, func(c *jwks.VerifierConfig) { c.IssuedSince = time.Unix(now-50, 0) }, nil},
		"required, missing":     {jwkstest.Claims{}, func(c *jwks.VerifierConfig) { c.Required = []string{"sub", "jti"} }, jwks.ErrClaim},
		"required, there":       {jwkstest.Claims{"sub": "a", "jti": "b"}, func(c *jwks.VerifierConfig) { c.Required = []string{"sub", "jti"} }, nil},
		"required, null":        {jwkstest.Claims{"sub": "a", "ext": (*int)(nil)}, func(c *jwks.VerifierConfig) { c.Required = []string{"ext"} }, jwks.ErrClaim},
		"subject that is 7":     {jwkstest.Claims{"sub": 7}, nil, jwks.ErrClaim},
		"scope":                 {jwkstest.Claims{"scope": "a b"}, func(c *jwks.VerifierConfig) { c.Scopes = []string{"b", "a"} }, nil},
		"scope in a list":       {jwkstest.Claims{"scp": []string{"a", "b"}}, func(c *jwks.VerifierConfig) { c.Scopes = []string{"b"} }, nil},
		"too little scope":      {jwkstest.Claims{"scope": "a"}, func(c *jwks.VerifierConfig) { c.Scopes = []string{"a", "b"} }, jwks.ErrScope},
		"no scope":              {jwkstest.Claims{}, func(c *jwks.VerifierConfig) { c.Scopes = []string{"a"} }, jwks.ErrScope},
		"validated":             {jwkstest.Claims{}, func(c *jwks.VerifierConfig) { c.Validate = refuse }, errRefused},
		"validated as a token":  {jwkstest.Claims{}, func(c *jwks.VerifierConfig) { c.Validate = refuse }, jwks.ErrToken},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := jwkstest.New(issuerURL)
			config := jwks.VerifierConfig{Now: func() time.Time { return time.Unix(now, 0) }}
			if test.change != nil {
				test.change(&config)
			}
			claims := jwkstest.Claims{"aud": "orders"}
			for name, value := range test.claims {
				claims[name] = value
			}
			token, err := newVerifier(t, issuer, config).Verify(t.Context(), issuer.Token("1", claims))
			if !errors.Is(err, test.want) || (err == nil) != (token != nil) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	claims := []byte(fmt.Sprintf(`{"iss":%q,"aud":"orders","exp":%d}`, issuer.URL, time.Now().Add(time.Hour).Unix()))
	strict := []string{"at+jwt"}
	for _, test := range []struct {
		typ   any
		types []string
		fine  bool
	}{
		{nil, nil, true},
		{"JWT", nil, true},
		{"jwt", nil, true},
		{"application/jwt", nil, true},
		{"at+JWT", nil, true},
		{"logout+jwt", nil, false},
		{"dpop+jwt", nil, false},
		{"JWT", strict, false},
		{nil, strict, false},
		{"application/at+jwt", strict, true},
		{"at+jwt", []string{}, false},
	} {
		verifier := newVerifier(t, issuer, jwks.VerifierConfig{Types: test.types})
		_, err := verifier.Verify(t.Context(), issuer.Sign("1", map[string]any{"typ": test.typ}, claims))
		if (err == nil) != test.fine || err != nil && !errors.Is(err, jwks.ErrType) {
			t.Errorf("%v with %v: %v", test.typ, test.types, err)
		}
	}
}

func TestMalformedTokens(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{})
	good := issuer.Token("1", jwkstest.Claims{"aud": "orders"})
	part := strings.Split(good, ".")
	header := func(extra map[string]any) string { return issuer.Sign("1", extra, []byte(`{}`)) }
	payload := func(json string) string { return issuer.Sign("1", nil, []byte(json)) }
	for name, raw := range map[string]string{
		"empty": "", "dots": "..", "two parts": part[0] + "." + part[1], "four parts": good + ".x", "five parts": good + "..",
		"padding": good + "=", "line break": part[0] + "\n." + part[1] + "." + part[2], "space": " " + good,
		"stray bits": part[0] + "." + part[1] + "." + part[2][:len(part[2])-1] + string(part[2][len(part[2])-1]+1),
		"no header":  "." + part[1] + "." + part[2], "standard base64": part[0] + "." + part[1] + "." + strings.Repeat("+/", 43),
		"too long": strings.Repeat("a", 17<<10), "header that is no object": "W10." + part[1] + "." + part[2],
		"crit": header(map[string]any{"crit": []string{"exp"}}), "b64": header(map[string]any{"b64": false}),
		"crit b64": header(map[string]any{"b64": false, "crit": []string{"b64"}}), "empty crit": header(map[string]any{"crit": []string{}}),
		"kid that is 7": header(map[string]any{"kid": 7}), "typ that is 7": header(map[string]any{"typ": 7}), "alg that is 7": header(map[string]any{"alg": 7}),
		"no claims": payload(""), "a list": payload("[]"), "more after it": payload("{}{}"), "a name twice": payload(`{"a":1,"a":2}`),
		"a name twice, escaped": payload(`{"a":1,"\u0061":2}`), "a name twice, inside": payload(`{"x":[{"a":1,"a":2}]}`),
		"not UTF-8": payload("{\"a\":\"\xff\"}"), "too deep": payload(`{"a":` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `}`),
	} {
		if _, err := verifier.Verify(t.Context(), raw); !errors.Is(err, jwks.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := verifier.Verify(t.Context(), good); err != nil {
		t.Error(err)
	}
	if _, err := verifier.Verify(t.Context(), part[0]+"."+part[1]+"."); !errors.Is(err, jwks.ErrSignature) {
		t.Errorf("no signature: %v", err)
	}
}

// A token that brings its own key is judged by the issuer's (RFC 8725 section
// 3.10).
func TestKeysInTokensAreNotRead(t *testing.T) {
	issuer, stranger := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{})
	claims := []byte(fmt.Sprintf(`{"iss":%q,"aud":"orders","exp":%d}`, issuer.URL, time.Now().Add(time.Hour).Unix()))
	raw := stranger.Sign("1", map[string]any{"jwk": ecJWK(t), "jku": stranger.JWKSURL(), "x5u": stranger.URL, "x5c": x5c(t)}, claims)
	if _, err := verifier.Verify(t.Context(), raw); !errors.Is(err, jwks.ErrSignature) {
		t.Error(err)
	}
	if _, err := verifier.Verify(t.Context(), issuer.Sign("1", map[string]any{"jku": "http://127.0.0.1"}, claims)); err != nil {
		t.Error(err)
	}
	requests(t, stranger, 0)
}
