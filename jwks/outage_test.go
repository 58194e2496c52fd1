package jwks_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

func TestStaleKeysAreUsedWhileThereAreNoOthers(t *testing.T) {
	for name, test := range map[string]struct {
		configured time.Duration
		control    string
		window     time.Duration
	}{
		"not asked for":           {0, "max-age=60", 0},
		"configured":              {time.Hour, "max-age=60", time.Hour},
		"the issuer allows it":    {0, "max-age=60, stale-if-error=120", 2 * time.Minute},
		"but an hour at most":     {0, "max-age=60, stale-if-error=86400", time.Hour},
		"the issuer says less":    {time.Hour, "max-age=60, stale-if-error=120", 2 * time.Minute},
		"the issuer forbids it":   {time.Hour, "max-age=60, stale-if-error=0", 0},
		"the verifier forbids it": {-1, "max-age=60, stale-if-error=120", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outage(t, test.configured, test.control, test.window) })
		})
	}
}

func outage(t *testing.T, configured time.Duration, control string, window time.Duration) {
	issuer := jwkstest.New(issuerURL)
	issuer.CacheControl(control)
	var told []jwks.Stale
	start := time.Now()
	client := newClient(t, issuer, jwks.Config{StaleIfError: configured, OnStale: func(s jwks.Stale) { told = append(told, s) }})
	wants(t, client, "1", nil)
	issuer.Answer(down)
	time.Sleep(time.Minute)
	if window > 0 {
		time.Sleep(window - time.Nanosecond)
		wants(t, client, "1", nil)
		if len(told) != 1 || !errors.Is(told[0].Err, jwks.ErrJWKS) || !told[0].Until.Equal(start.Add(time.Minute+window)) {
			t.Errorf("the hook was told %v", told)
		}
	}
	time.Sleep(time.Minute)
	wants(t, client, "1", jwks.ErrJWKS)
	issuer.Answer(nil)
	time.Sleep(time.Minute)
	wants(t, client, "1", nil) // and it recovers by itself
}

func TestAnOutageDoesNotCostTheUsersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{StaleIfError: time.Hour})
		wants(t, client, "1", nil)
		issuer.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }) // no answer at all
		time.Sleep(250 * time.Second)
		wants(t, client, "1", nil) // starts the first fetch in the background
		time.Sleep(60 * time.Second)
		start := time.Now()
		for range 1000 {
			wants(t, client, "1", nil)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("1000 lookups with keys at hand waited %s", waited)
		}
	})
}

func TestAFailingIssuerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		issuer.Answer(down)
		client := newClient(t, issuer, jwks.Config{})
		for range 1000 { // ten minutes
			wants(t, client, "1", jwks.ErrJWKS)
			time.Sleep(600 * time.Millisecond)
		}
		if n := issuer.Requests(); n < 20 || n > 60 {
			t.Errorf("%d requests in ten minutes of outage", n)
		}
	})
}

func TestTheFirstFailureIsForgivenAtOnce(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	issuer.Answer(down)
	client := newClient(t, issuer, jwks.Config{})
	wants(t, client, "1", jwks.ErrJWKS)
	issuer.Answer(nil)
	wants(t, client, "1", nil)
}

func TestRetryAfterIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		client := newClient(t, issuer, jwks.Config{})
		_, err := client.Key(t.Context(), "1")
		failed := (*jwks.FetchError)(nil)
		if !errors.As(err, &failed) || failed.Status != http.StatusTooManyRequests || jwks.RetryAfter(err) != "20" {
			t.Fatalf("%v, to be tried again after %q", err, jwks.RetryAfter(err))
		}
		time.Sleep(19 * time.Second)
		wants(t, client, "1", jwks.ErrJWKS)
		requests(t, issuer, 1)
		time.Sleep(2 * time.Second)
		issuer.Answer(nil)
		wants(t, client, "1", nil)
	})
}

func TestUnknownKidsHaveABudgetOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{RateLimit: true, RequestsPerMinute: 10, UnknownKidsPerMinute: 3, Cooldown: time.Second})
		wants(t, client, "1", nil)
		refused := map[bool]int{}
		for n := range 600 { // a minute of ten a second
			_, err := client.Key(t.Context(), fmt.Sprint("random-", n))
			if !errors.Is(err, jwks.ErrSigningKeyNotFound) && !errors.Is(err, jwks.ErrRateLimited) {
				t.Fatal(err)
			}
			refused[errors.Is(err, jwks.ErrRateLimited)]++
			wants(t, client, "1", nil) // who is honest notices nothing
			time.Sleep(100 * time.Millisecond)
		}
		if n := issuer.Requests(); n > 1+3+3 {
			t.Errorf("a stranger's kids caused %d requests", n)
		}
		if refused[true] == 0 || refused[false] == 0 {
			t.Errorf("refusals: %v", refused)
		}
		issuer.Add("2", "ES256")
		time.Sleep(20 * time.Second) // until there is budget again
		wants(t, client, "2", nil)
	})
}

func TestAKeyThatIsUsedBeforeItWasSeenIsFetchedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{})
		wants(t, client, "1", nil)
		issuer.Add("2", "ES256")
		wants(t, client, "2", nil)
		wants(t, client, "3", jwks.ErrSigningKeyNotFound)
		requests(t, issuer, 2) // that came within the cool-down
		time.Sleep(6 * time.Second)
		issuer.Add("3", "ES256")
		wants(t, client, "3", nil)
	})
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{NoCache: true, RateLimit: true})
		for range 10 {
			wants(t, client, "1", nil)
		}
		_, err := client.Key(t.Context(), "1")
		limited := (*jwks.RateLimitError)(nil)
		if !errors.Is(err, jwks.ErrRateLimited) || !errors.As(err, &limited) || limited.RetryAfter != 6*time.Second || jwks.RetryAfter(err) != "6" {
			t.Fatalf("the eleventh: %v", err)
		}
		time.Sleep(limited.RetryAfter)
		wants(t, client, "1", nil)
		wants(t, client, "1", jwks.ErrRateLimited)
		requests(t, issuer, 11)
	})
}

func TestWithoutRateLimitThereIsNone(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	client := newClient(t, issuer, jwks.Config{NoCache: true})
	for range 50 {
		wants(t, client, "1", nil)
	}
	requests(t, issuer, 50)
}

func TestUnknownKidsMayCauseNoFetchAtAll(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	client := newClient(t, issuer, jwks.Config{UnknownKidsPerMinute: -1})
	wants(t, client, "1", nil)
	issuer.Add("2", "ES256")
	wants(t, client, "2", jwks.ErrSigningKeyNotFound)
	requests(t, issuer, 1)
}

// A refresh must not be content with a fetch that began before the change that
// it is called for.
func TestRefreshSeesWhatIsThereWhenItIsCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL, "ES256", "EdDSA")
		client := newClient(t, issuer, jwks.Config{})
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
			old := issuer.JWKS()
			time.Sleep(time.Second)
			_, _ = w.Write(old)
		})
		go func() { _, _ = client.Key(t.Context(), "1") }()
		synctest.Wait()
		issuer.Revoke("1")
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		wants(t, client, "1", jwks.ErrSigningKeyNotFound)
	})
}

// A kid may be met while a fetch is under way that began before its key was
// published.
func TestAKeyThatCameDuringAFetchIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{})
		wants(t, client, "1", nil)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
			before := issuer.JWKS()
			time.Sleep(time.Second)
			_, _ = w.Write(before)
		})
		time.Sleep(250 * time.Second)
		wants(t, client, "1", nil) // starts a fetch in the background
		synctest.Wait()
		issuer.Add("2", "ES256")
		wants(t, client, "2", nil)
		requests(t, issuer, 3)
	})
}
