package jwkshttp_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
	"github.com/keyward/keyward/jwks/jwkstest"
)

func guarded(t *testing.T, issuer *jwkstest.Issuer, keys jwks.Config, config jwkshttp.Config, scopes ...string) http.Handler {
	t.Helper()
	keys.HTTPClient = issuer.Client()
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: issuer.URL, Keys: keys, Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	return jwkshttp.New(verifier, config).Require(scopes...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := jwks.FromContext(r.Context()); ok {
			w.Header().Set("Subject", token.Subject)
		}
	}))
}

func ask(h http.Handler, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/orders", nil)
	for _, field := range fields {
		r.Header.Add("Authorization", field)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	token := func(claims jwkstest.Claims) string {
		all := jwkstest.Claims{"aud": "orders", "sub": "me"}
		for name, value := range claims {
			all[name] = value
		}
		return "Bearer " + issuer.Token("1", all)
	}
	stranger := jwkstest.New(issuer.URL)
	for name, test := range map[string]struct {
		fields    []string
		status    int
		code      string
		challenge string
	}{
		"good":            {[]string{token(jwkstest.Claims{"scope": "orders:read x"})}, 200, "", ""},
		"any case":        {[]string{strings.Replace(token(jwkstest.Claims{"scope": "orders:read"}), "Bearer", "bEARER", 1)}, 200, "", ""},
		"no token":        {nil, 401, "token_missing", `Bearer realm="shop"`},
		"another scheme":  {[]string{"Basic YTpi"}, 401, "token_missing", `Bearer realm="shop"`},
		"no value":        {[]string{"Bearer"}, 400, "invalid_request", `Bearer realm="shop", error="invalid_request", error_description="the Authorization field is malformed"`},
		"two fields":      {[]string{token(nil), token(nil)}, 400, "invalid_request", `error="invalid_request"`},
		"two tokens":      {[]string{"Bearer a, b"}, 400, "invalid_request", `error="invalid_request"`},
		"no scope":        {[]string{token(nil)}, 403, "insufficient_scope", `Bearer realm="shop", error="insufficient_scope", error_description="the token does not allow this", scope="orders:read"`},
		"nonsense":        {[]string{"Bearer x.y.z"}, 401, "token_malformed", `error="invalid_token"`},
		"expired":         {[]string{token(jwkstest.Claims{"exp": 1})}, 401, "token_expired", `error_description="the token has expired"`},
		"other audience":  {[]string{token(jwkstest.Claims{"aud": "x"})}, 401, "audience_not_accepted", `error="invalid_token"`},
		"wrong signature": {[]string{"Bearer " + stranger.Token("1", nil)}, 401, "signature_wrong", `error="invalid_token"`},
		"unknown key":     {[]string{"Bearer " + issuer.Sign("1", map[string]any{"kid": "x"}, []byte(`{"iss":"https://issuer.example"}`))}, 401, "key_not_found", `error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			var seen error
			h := guarded(t, issuer, jwks.Config{}, jwkshttp.Config{Realm: "shop", OnRefusal: func(_ *http.Request, r *jwkshttp.Refusal) { seen = r }}, "orders:read")
			w := ask(h, test.fields...)
			if w.Code != test.status || !strings.Contains(w.Header().Get("WWW-Authenticate"), test.challenge) {
				t.Fatalf("%d, challenge %s", w.Code, w.Header().Get("WWW-Authenticate"))
			}
			if w.Code == http.StatusOK {
				if seen != nil || w.Header().Get("Subject") != "me" {
					t.Error("the handler did not find the token")
				}
				return
			}
			var problem struct {
				Status      int
				Code, Title string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != w.Code || problem.Code != test.code || problem.Title == "" {
				t.Errorf("body %s: %v", w.Body, err)
			}
			if w.Header().Get("Content-Type") != "application/problem+json" || seen == nil {
				t.Error(w.Header(), seen)
			}
		})
	}
}

func TestKeysThatCannotBeHad(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	field := "Bearer " + issuer.Token("1", jwkstest.Claims{"aud": "orders"})
	issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	w := ask(guarded(t, issuer, jwks.Config{}, jwkshttp.Config{}), field)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "7" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}

	issuer.Answer(nil)
	limited := guarded(t, issuer, jwks.Config{NoCache: true, RateLimit: true, RequestsPerMinute: 1}, jwkshttp.Config{})
	if w := ask(limited, field); w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	if w := ask(limited, field); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestOptionalTokensAreStillChecked(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	h := guarded(t, issuer, jwks.Config{}, jwkshttp.Config{Optional: true})
	if w := ask(h); w.Code != http.StatusOK || w.Header().Get("Subject") != "" {
		t.Error(w.Code)
	}
	if w := ask(h, "Bearer x"); w.Code != http.StatusUnauthorized {
		t.Error(w.Code)
	}
}

func TestTokensFromElsewhere(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	raw := issuer.Token("1", jwkstest.Claims{"aud": "orders", "exp": time.Now().Add(time.Hour).Unix()})
	find := jwkshttp.First(jwkshttp.Bearer, jwkshttp.Header("X-Token"), jwkshttp.Cookie("session"))
	h := guarded(t, issuer, jwks.Config{}, jwkshttp.Config{Token: find})
	for name, value := range map[string]string{"X-Token": raw, "x-token": "Bearer " + raw, "Cookie": "session=" + raw, "Authorization": "bearer " + raw} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

func TestTheUnknownIsAnInternalError(t *testing.T) {
	refusal := jwkshttp.Refuse(errors.New("secret"), "")
	if refusal.Status != http.StatusInternalServerError || strings.Contains(refusal.Detail, "secret") || refusal.Challenge != "" {
		t.Errorf("%+v", refusal)
	}
}

// A stranger's kids are 401, however many, and are not told when to come again:
// the fault is the token's.
func TestUnknownKeysAreNotRateLimited(t *testing.T) {
	issuer, stranger := jwkstest.New("https://issuer.example"), jwkstest.New("https://issuer.example")
	h := guarded(t, issuer, jwks.Config{UnknownKidsPerMinute: 1, Cooldown: 1}, jwkshttp.Config{})
	ask(h, "Bearer "+issuer.Token("1", jwkstest.Claims{"aud": "orders"}))
	for _, claims := range []jwkstest.Claims{{"aud": "orders"}, {"aud": "orders", "exp": 1}, {"aud": "x"}} {
		for n := range 10 {
			kid := strings.Repeat("x", n+1)
			stranger.Add(kid, jose.ES256)
			w := ask(h, "Bearer "+stranger.Token(kid, claims))
			if w.Code != http.StatusUnauthorized || w.Header().Get("Retry-After") != "" || !strings.Contains(w.Header().Get("WWW-Authenticate"), "invalid_token") {
				t.Fatalf("%v: %d %v", claims, w.Code, w.Header())
			}
			stranger.Revoke(kid)
		}
	}
	if n := issuer.Requests(); n != 2 {
		t.Errorf("%d requests", n)
	}
}
