package moving

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// No error quotes the content of a source.
func TestErrorsRepeatNothing(t *testing.T) {
	const secret = "c3VwZXJzZWNyZXQ"
	dir := t.TempDir()
	for name, text := range map[string]string{
		"text":      secret,
		"no set":    `{"d":"` + secret + `"}`,
		"bad set":   `{"keys":"` + secret + `"}`,
		"bad keys":  `{"keys":[{"kty":"RSA","kid":{"x":"` + secret + `"}}]}`,
		"bad PEM":   "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
		"two PEMs":  privatePEM(t, ecKey(t)) + privatePEM(t, ecKey(t)),
		"encrypted": "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + secret + "=\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"long":      strings.Repeat(secret, maxSource/len(secret)+1),
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, dir, "source", text)
			write(t, dir, "metadata.json", text)
			for reader, read := range map[string]func() ([]Key, error){
				"nestjs-jwks":   func() ([]Key, error) { return NestJWKS(dir, Settings{}) },
				"node-jose":     func() ([]Key, error) { return NodeJose(path, Settings{}) },
				"oauth2-server": func() ([]Key, error) { return OAuth2Server(path, Settings{}) },
				"hydra":         func() ([]Key, error) { return Hydra(t.Context(), path, nil, Settings{}) },
			} {
				keys, err := read()
				movable := false
				for _, k := range keys {
					movable = movable || k.RefuseReason == "" && k.SkipReason == ""
				}
				if err == nil && movable {
					t.Errorf("%s takes it", reader)
				}
				if said := fmt.Sprint(err, summary(keys)); strings.Contains(said, secret) || strings.Contains(said, "BEGIN") {
					t.Errorf("%s says %s", reader, said)
				}
				if err != nil && !errors.Is(err, ErrFormat) {
					t.Errorf("%s: %v is no ErrFormat", reader, err)
				}
			}
		})
	}
}

func TestMissingSources(t *testing.T) {
	for name, read := range map[string]func() ([]Key, error){
		"directory": func() ([]Key, error) { return NestJWKS("/does/not/exist", Settings{}) },
		"file":      func() ([]Key, error) { return NodeJose("/does/not/exist", Settings{}) },
		"PEM":       func() ([]Key, error) { return OAuth2Server("/does/not/exist", Settings{}) },
		"URL":       func() ([]Key, error) { return JWKS(t.Context(), "http://127.0.0.1:1/", Settings{}) },
		"plain":     func() ([]Key, error) { return JWKS(t.Context(), "http://192.0.2.1/jwks", Settings{}) },
		"Redis":     func() ([]Key, error) { return Redis(t.Context(), "redis://:hunter2@127.0.0.1:1/0", "", Settings{}) },
		"bad Redis": func() ([]Key, error) { return Redis(t.Context(), "mysql://:hunter2@x:y", "", Settings{}) },
	} {
		_, err := read()
		if !errors.Is(err, ErrUnreadable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NodeJose("/does/not/exist", Settings{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v does not say that there is no file", err)
	}
}

func TestFetchLimits(t *testing.T) {
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	defer s.Close()
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/set", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/set", http.StatusFound)
	})
	mux.HandleFunc("/set", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", maxSource+1)) })
	for path, good := range map[string]bool{"/set": true, "/once": true, "/loop": false, "/away": false, "/long": false, "/none": false} {
		if _, err := JWKS(t.Context(), s.URL+path, Settings{}); (err == nil) != good {
			t.Errorf("JWKS %s: %v", path, err)
		}
	}
	if _, err := Hydra(t.Context(), s.URL+"/once", nil, Settings{}); err == nil {
		t.Error("a redirect is followed to private keys")
	}
}

// fakeRedis is a redisStore with strings, sets and sorted sets, newest first.
type fakeRedis struct {
	strings map[string]string
	sets    map[string][]string
}

func (f fakeRedis) get(_ context.Context, name string) (string, error) { return f.strings[name], nil }

func (f fakeRedis) members(_ context.Context, name string) ([]string, error) {
	return f.sets[name], nil
}

func (f fakeRedis) newest(_ context.Context, name string, _ int64) ([]string, error) {
	return f.sets[name], nil
}

func TestRedisLayout(t *testing.T) {
	a, b := rsaKey(), ecKey(t)
	f := fakeRedis{
		strings: map[string]string{
			redisActive: "a", redisPEM + "a": privatePEM(t, a), redisJWK + "a": jwkText(t, a.Public(), "a", "RS256", "sig"),
			redisPEM + "b": privatePEM(t, b), redisJWK + "b": jwkText(t, b.Public(), "b", "ES256", "sig"),
		},
		sets: map[string][]string{redisRecent: {"a", "b", "c", "lost"}, redisRevoked: {"c"}},
	}
	keys, err := readRedis(t.Context(), f, Settings{})
	wantKeys(t, keys, err, "a RS256 active private", "b ES256 recent public", "c  revoked public it was revoked", "lost  recent public nothing is under")

	f.strings[redisPEM+"a"] = privatePEM(t, b)
	keys, err = readRedis(t.Context(), f, Settings{})
	wantKeys(t, keys[:1], err, "a RS256 active public its PEM and its JWK are different keys")

	delete(f.strings, redisPEM+"a") // as after a revocation at the source
	keys, err = readRedis(t.Context(), f, Settings{})
	wantKeys(t, keys[:1], err, "a RS256 active public")
}

// A set that lists its keys twice has no reading in which none is lost.
func TestSetWithTwoLists(t *testing.T) {
	a, b := jwkText(t, ecKey(t).Public(), "a", "ES256", "sig"), jwkText(t, ecKey(t).Public(), "b", "ES256", "sig")
	for _, set := range []string{`{"keys":[` + a + `],"keys":[` + b + `]}`, `{"keys":[` + a + `],"Keys":[` + b + `]}`, `{"keys":[],"x":1,"KEYS":null}`} {
		if keys, err := JWKFile(write(t, t.TempDir(), "set.json", set), Settings{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, %v", set, keys, err)
		}
	}
	once := `{"x":{"keys":[]},"keys":[{"kid":"z","keys":1},` + a + `]}`
	if keys, err := JWKFile(write(t, t.TempDir(), "set.json", once), Settings{}); err != nil || len(keys) != 2 {
		t.Errorf("%v, %v", keys, err)
	}
}
