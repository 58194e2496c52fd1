package jwks_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

const issuerURL = "https://issuer.example/t/acme"

// newClient is a client of an issuer, without a network.
func newClient(t *testing.T, issuer *jwkstest.Issuer, config jwks.Config) *jwks.Client {
	t.Helper()
	config.HTTPClient = issuer.Client()
	if config.URL == "" && config.Issuer == "" {
		config.URL = issuer.JWKSURL()
	}
	client, err := jwks.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// wants looks for a kid and compares the error's class.
func wants(t *testing.T, client *jwks.Client, kid string, class error) {
	t.Helper()
	key, err := client.Key(t.Context(), kid)
	if !errors.Is(err, class) {
		t.Fatalf("kid %q: error %v, want %v", kid, err, class)
	}
	if err == nil && key.ID() != kid {
		t.Fatalf("kid %q: got %q", kid, key.ID())
	}
}

func requests(t *testing.T, issuer *jwkstest.Issuer, want int) {
	t.Helper()
	if got := issuer.Requests(); got != want {
		t.Fatalf("%d requests, want %d", got, want)
	}
}

func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

func TestASetIsFetchedOnceInItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{})
		for range 100 {
			wants(t, client, "1", nil)
		}
		requests(t, issuer, 1)
		time.Sleep(299 * time.Second) // beyond 80 % of 300 s, so it is fetched again in the background
		wants(t, client, "1", nil)
		synctest.Wait()
		requests(t, issuer, 2)
		if issuer.Sent() != 1 {
			t.Error("an unchanged set was sent again, not revalidated by its ETag")
		}
		time.Sleep(200 * time.Second) // the 304 has made it young again
		wants(t, client, "1", nil)
		synctest.Wait()
		requests(t, issuer, 2)
	})
}

func TestCacheControlIsHeardWithinBounds(t *testing.T) {
	for control, want := range map[string]time.Duration{
		"max-age=60":                      60 * time.Second,
		"public, MAX-AGE=\"60\"":          60 * time.Second,
		"max-age=604800":                  10 * time.Minute, // no issuer makes it longer
		"max-age=0":                       30 * time.Second,
		"no-cache":                        30 * time.Second,
		"no-store, max-age=600":           30 * time.Second,
		"max-age=2":                       5 * time.Second,
		"":                                10 * time.Minute,
		"max-age=nonsense":                30 * time.Second, // says something, but nothing valid
		"max-age=99999999999999999999999": 10 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			issuer := jwkstest.New(issuerURL)
			issuer.CacheControl(control)
			client := newClient(t, issuer, jwks.Config{MinAge: 5 * time.Second})
			wants(t, client, "1", nil)
			issuer.Answer(down)
			time.Sleep(want - time.Nanosecond)
			wants(t, client, "1", nil)
			time.Sleep(time.Second)
			wants(t, client, "1", jwks.ErrJWKS)
		})
	}
}

func TestARevokedKeyIsGoneWithTheNextSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL, "ES256", "EdDSA")
		client := newClient(t, issuer, jwks.Config{})
		wants(t, client, "1", nil)
		wants(t, client, "2", nil)
		issuer.Revoke("1")
		issuer.Add("3", "ES256")
		wants(t, client, "3", nil) // not known, so the set is fetched
		wants(t, client, "1", jwks.ErrSigningKeyNotFound)
		wants(t, client, "2", nil)

		issuer.Revoke("2")
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		wants(t, client, "2", jwks.ErrSigningKeyNotFound)
	})
}

func TestAnIssuerWithoutKeysHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{})
		wants(t, client, "1", nil)
		issuer.Revoke("1")
		time.Sleep(301 * time.Second)
		wants(t, client, "1", jwks.ErrNoKeys)
		wants(t, client, "1", jwks.ErrJWKS)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}]}`))
		})
		time.Sleep(time.Minute)
		wants(t, client, "1", jwks.ErrNoSigningKeys)
		if _, err := client.Keys(t.Context()); !errors.Is(err, jwks.ErrNoSigningKeys) {
			t.Error(err)
		}
	})
}

func TestManyCallersShareAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		issuer.Answer(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			_, _ = w.Write(issuer.JWKS())
		})
		client := newClient(t, issuer, jwks.Config{NoCache: true})

		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := client.Key(impatient, "1"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("whoever gives up gets %v", err)
			}
		})
		for range 50 {
			all.Go(func() { wants(t, client, "1", nil) })
		}
		all.Wait()
		requests(t, issuer, 1)
		wants(t, client, "1", nil)
		requests(t, issuer, 2) // nothing was cached
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		issuer.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		client := newClient(t, issuer, jwks.Config{})
		time.AfterFunc(time.Second, client.Close)
		wants(t, client, "1", jwks.ErrClosed)
		wants(t, client, "1", jwks.ErrClosed)
	})
}
