package jwks_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// A callback that panics or ends its goroutine ends that fetch, and nothing else:
// nobody waits for ever, no lock stays held, and the next fetch works.
func TestCallbacksThatPanicOrEndTheirGoroutine(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[{"kty":"AKP","kid":"other"},` + string(issuer.JWKS())[len(`{"keys":[`):]))
	})
	for way, misbehave := range map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit} {
		for name, with := range map[string]func(once func()) jwks.Config{
			"Fetch": func(once func()) jwks.Config {
				return jwks.Config{Fetch: func(context.Context, string) ([]byte, error) { once(); return issuer.JWKS(), nil }}
			},
			"Local": func(once func()) jwks.Config {
				return jwks.Config{Local: func(context.Context) ([]byte, error) { once(); return issuer.JWKS(), nil }}
			},
			"OnSkip": func(once func()) jwks.Config { return jwks.Config{OnSkip: func(string, error) { once() }} },
			"transport": func(once func()) jwks.Config {
				return jwks.Config{HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					once()
					return issuer.Client().Transport.RoundTrip(r)
				})}}
			},
			"Logger": func(once func()) jwks.Config {
				return jwks.Config{Logger: slog.New(callingHandler{once})}
			},
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					armed := false
					config := with(func() {
						if armed {
							armed = false
							misbehave()
						}
					})
					config.URL = issuer.JWKSURL()
					config.HTTPClient = cmp.Or(config.HTTPClient, issuer.Client())
					client, err := jwks.New(config)
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					armed = true
					if _, err := client.Key(t.Context(), "1"); err != nil && !errors.Is(err, jwks.ErrJWKS) {
						t.Errorf("the fetch ended with %v", err)
					}
					time.Sleep(time.Minute)
					if armed {
						t.Error("the callback was not called")
					}
					wants(t, client, "1", nil)
				})
			})
		}
	}
}

// The warning about a failed fetch is logged while others wait for the fetch.
func TestALoggerThatPanicsAboutAFailure(t *testing.T) {
	for way, misbehave := range map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwkstest.New(issuerURL)
				issuer.Answer(down)
				client := newClient(t, issuer, jwks.Config{Logger: slog.New(warningHandler{callingHandler{misbehave}})})
				wants(t, client, "1", jwks.ErrJWKS)
				issuer.Answer(nil)
				wants(t, client, "1", nil)
			})
		})
	}
}

// The clock is a callback too, and is read when a fetch has ended.
func TestAClockThatMisbehavesDuringAFetch(t *testing.T) {
	for way, misbehave := range map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit} {
		for name, answer := range map[string]http.HandlerFunc{"that fails": down, "that succeeds": nil} {
			t.Run(way+" in a fetch "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					issuer := jwkstest.New(issuerURL)
					issuer.Answer(answer)
					armed, fired := false, false
					client, err := jwks.New(jwks.Config{
						URL: issuer.JWKSURL(),
						HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
							armed = !fired
							return issuer.Client().Transport.RoundTrip(r)
						})},
						Now: func() time.Time {
							if armed {
								armed, fired = false, true
								misbehave()
							}
							return time.Now()
						},
					})
					if err != nil {
						t.Fatal(err)
					}
					wants(t, client, "1", jwks.ErrJWKS)
					issuer.Answer(nil)
					time.Sleep(time.Minute)
					if wants(t, client, "1", nil); !fired {
						t.Error("the clock was not read")
					}
				})
			})
		}
	}
}

// A callback that runs on the caller's goroutine is the caller's affair, but holds
// nothing up.
func TestOnStaleThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client := newClient(t, issuer, jwks.Config{StaleIfError: time.Hour, OnStale: func(jwks.Stale) { panic("oops") }})
		wants(t, client, "1", nil)
		issuer.Answer(down)
		time.Sleep(10 * time.Minute)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = client.Key(t.Context(), "1")
		}()
		issuer.Answer(nil)
		time.Sleep(time.Minute)
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		wants(t, client, "1", nil)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// callingHandler calls a function for each record.
type callingHandler struct{ call func() }

func (callingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h callingHandler) Handle(context.Context, slog.Record) error {
	h.call()
	return nil
}
func (h callingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h callingHandler) WithGroup(string) slog.Handler      { return h }

// warningHandler is for warnings alone.
type warningHandler struct{ callingHandler }

func (warningHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}
