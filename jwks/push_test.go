package jwks_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// A feed serves event streams without a network.
type feed struct {
	answer func(*http.Request) *http.Response // nil, or giving nil: a stream
	opened chan *connection
	asked  int
}

type connection struct {
	header http.Header
	out    *io.PipeWriter
}

func (f *feed) RoundTrip(r *http.Request) (*http.Response, error) {
	f.asked++
	if f.answer != nil {
		if response := f.answer(r); response != nil {
			return response, nil
		}
	}
	in, out := io.Pipe()
	context.AfterFunc(r.Context(), func() { out.CloseWithError(r.Context().Err()) })
	f.opened <- &connection{r.Header, out}
	return respond(r, http.StatusOK, in), nil
}

func respond(r *http.Request, status int, body io.ReadCloser) *http.Response {
	header := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}
	return &http.Response{StatusCode: status, Status: strconv.Itoa(status), Header: header, Body: body, Request: r}
}

// say writes to the stream and waits until all that follows from it has.
func (c *connection) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c.out, text); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// spread is the time within which a subscriber has fetched the set.
const spread = 250 * time.Millisecond

const revokedOne = "id: 7\nevent: key.revoked\ndata: {\"kid\":\"1\",\"action\":\"key.revoked\"}\n\n"

// subscribe runs a subscription in the test's bubble.
func subscribe(t *testing.T, client *jwks.Client, f *feed) {
	t.Helper()
	f.opened = make(chan *connection, 1000)
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- client.Subscribe(ctx, jwks.Push{URL: issuerURL + "/events", HTTPClient: &http.Client{Transport: f}})
	}()
	t.Cleanup(func() {
		end()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, jwks.ErrClosed) {
			t.Errorf("the subscription ended with %v", err)
		}
	})
	time.Sleep(spread)
	synctest.Wait()
}

// A cache between issuer and client keeps giving the old set, which must not
// bring the key back; nor may a fetch that was under way.
func TestARevokedKeyIsRefusedWhateverIsFetched(t *testing.T) {
	for name, before := range map[string]time.Duration{"with a set at hand": 0, "while one is fetched": 250 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwkstest.New(issuerURL, "ES256", "EdDSA")
				old := issuer.JWKS()
				client, f := newClient(t, issuer, jwks.Config{}), &feed{}
				subscribe(t, client, f)
				wants(t, client, "1", nil)
				issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(time.Second)
					w.Header().Set("Cache-Control", "max-age=300")
					_, _ = w.Write(old)
				})
				stream := <-f.opened
				if before > 0 {
					for range 20 { // heartbeats
						time.Sleep(before / 20)
						stream.say(t, ":\n\n")
					}
					wants(t, client, "1", nil) // starts a fetch in the background
					synctest.Wait()
				}
				stream.say(t, revokedOne)
				for range 10 {
					wants(t, client, "1", jwks.ErrSigningKeyNotFound)
					wants(t, client, "2", nil)
					stream.say(t, "event: key.created\ndata: {\"kid\":\"1\"}\n\n") // late
					time.Sleep(20 * time.Second)
				}
				if keys, err := client.Keys(t.Context()); err != nil || len(keys) != 1 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
			})
		})
	}
}

// The last key goes as others do, and local ones too.
func TestTheOnlyKeyCanBeRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client, f := newClient(t, issuer, jwks.Config{Local: jwks.Static(issuer.JWKS())}), &feed{}
		subscribe(t, client, f)
		wants(t, client, "1", nil)
		(<-f.opened).say(t, revokedOne)
		wants(t, client, "1", jwks.ErrNoSigningKeys)
	})
}

func TestEventsFetchTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client, f := newClient(t, issuer, jwks.Config{}), &feed{}
		subscribe(t, client, f)
		stream := <-f.opened
		requests(t, issuer, 1) // nobody will tell of what was before
		for name, more := range map[string]int{
			"key.revoked": 1, "key.activated": 1, "tenant.suspended": 1, "tenant.deleted": 1, "": 0, "api_key.created": 0, "policy.updated": 0, "key": 0,
		} {
			before := issuer.Requests()
			time.Sleep(10 * time.Second)
			stream.say(t, "event: "+name+"\ndata: not JSON\n\n")
			time.Sleep(spread)
			synctest.Wait()
			if got := issuer.Requests() - before; got != more {
				t.Errorf("%q: %d fetches, want %d", name, got, more)
			}
		}
		s := client.Stats()
		if !s.Subscribed || s.Events != 8 || !s.LastEvent.Equal(time.Now().Add(-spread)) {
			t.Errorf("%+v", s)
		}
		client.Close()
		synctest.Wait()
		if client.Stats().Subscribed {
			t.Error("a closed client is subscribed")
		}
	})
}

// A key that takes over at once is published and signs at one moment. Its first token
// must not wait for the subscriber's own time to fetch the set.
func TestAKidThatAnEventAnnouncedDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client, f := newClient(t, issuer, jwks.Config{}), &feed{}
		subscribe(t, client, f)
		stream := <-f.opened
		wants(t, client, "unknown", jwks.ErrSigningKeyNotFound) // the next such fetch is not due for a while
		began := time.Now()
		for _, kid := range []string{"2", "3"} {
			wants(t, client, kid, jwks.ErrSigningKeyNotFound)
			issuer.Add(kid, "ES256")
			stream.say(t, "event: key.activated\ndata: {}\n\n")
			wants(t, client, kid, nil)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the keys are known after %v", took)
		}
		before := issuer.Requests()
		time.Sleep(spread) // the subscriber's own fetch is not needed any more
		for range 100 {
			wants(t, client, "unknown", jwks.ErrSigningKeyNotFound)
		}
		requests(t, issuer, before)
	})
}

// An event does not lift the bounds of what strangers' kids can cause.
func TestEventsLiftNoBoundOfUnknownKids(t *testing.T) {
	for most, fetches := range map[int]int{-1: 0, 2: 2} {
		synctest.Test(t, func(t *testing.T) {
			issuer := jwkstest.New(issuerURL)
			client, f := newClient(t, issuer, jwks.Config{UnknownKidsPerMinute: most}), &feed{}
			subscribe(t, client, f)
			stream := <-f.opened
			before := issuer.Requests()
			for range 5 {
				stream.say(t, "event: tenant.updated\ndata: {}\n\n")
				wants(t, client, "unknown", jwks.ErrSigningKeyNotFound)
			}
			requests(t, issuer, before+fetches)
		})
	}
}

func TestAFetchAnEventAsksForIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client, f := newClient(t, issuer, jwks.Config{RateLimit: true, RequestsPerMinute: 30}), &feed{}
		subscribe(t, client, f)
		issuer.Answer(down)
		issuer.Add("2", "ES256")
		(<-f.opened).say(t, "event: key.created\ndata: {}\n\n")
		time.Sleep(20 * time.Second)
		issuer.Answer(nil)
		time.Sleep(time.Minute)
		before := issuer.Requests()
		wants(t, client, "2", nil)
		requests(t, issuer, before)
	})
}

func TestAFloodOfEventsIsNoFloodOfFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL, "ES256", "EdDSA")
		client, f := newClient(t, issuer, jwks.Config{}), &feed{}
		subscribe(t, client, f)
		stream := <-f.opened
		for range 6000 { // a minute
			stream.say(t, "event: key.rotated\ndata: {}\n\n")
			time.Sleep(10 * time.Millisecond)
		}
		if n := issuer.Requests(); n > 130 {
			t.Errorf("%d fetches in a minute", n)
		}
		stream.say(t, revokedOne) // is heard all the same
		wants(t, client, "1", jwks.ErrSigningKeyNotFound)
	})
}

func TestALostStreamGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client, f := newClient(t, issuer, jwks.Config{}), &feed{}
		subscribe(t, client, f)
		stream := <-f.opened
		if id := stream.header.Get("Last-Event-ID"); id != "" {
			t.Errorf("began behind %q", id)
		}
		stream.say(t, "retry: 5000\nid: 3\n\nid: 4\ndata: {}\n\nid: 5\ndata: {}\n") // the last is cut off
		time.Sleep(20 * time.Second)
		lost := time.Now()
		_ = stream.out.Close()
		stream = <-f.opened
		if waited := time.Since(lost); waited < 5*time.Second || waited > 7500*time.Millisecond {
			t.Errorf("came back after %s", waited)
		}
		if id := stream.header.Get("Last-Event-ID"); id != "4" {
			t.Errorf("went on behind %q", id)
		}
		synctest.Wait()
		requests(t, issuer, 1)
		wants(t, client, "1", nil)
	})
}

// Where a server does not know the position, or what it says cannot be read,
// the next stream begins anew, and the set is fetched.
func TestAStreamThatCannotGoOnBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		client, f := newClient(t, issuer, jwks.Config{}), &feed{}
		f.answer = func(r *http.Request) *http.Response {
			if r.Header.Get("Last-Event-ID") == "4" {
				return respond(r, http.StatusBadRequest, http.NoBody)
			}
			return nil
		}
		subscribe(t, client, f)
		for n, text := range []string{"id: 4\n\n", "id: 5\n\ndata: " + strings.Repeat("x", 300_000)} {
			stream := <-f.opened
			time.Sleep(spread)
			synctest.Wait()
			requests(t, issuer, n+1)
			if id := stream.header.Get("Last-Event-ID"); id != "" {
				t.Errorf("began behind %q", id)
			}
			_, _ = io.WriteString(stream.out, text)
			_ = stream.out.Close()
		}
		if id := (<-f.opened).header.Get("Last-Event-ID"); id != "" {
			t.Errorf("began behind %q", id)
		}
	})
}

func TestASilentStreamIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, f := newClient(t, jwkstest.New(issuerURL), jwks.Config{}), &feed{}
		subscribe(t, client, f)
		stream := <-f.opened
		for range 10 {
			time.Sleep(44 * time.Second)
			stream.say(t, ":\n\n")
		}
		if time.Sleep(46 * time.Second); client.Stats().Subscribed {
			t.Error("a silent stream is trusted")
		}
		<-f.opened
	})
}

// Whatever the server does, it is left alone most of the time and verifying
// goes on.
func TestWithoutAStreamAllIsAsBefore(t *testing.T) {
	endless := func(r *http.Request) *http.Response { return respond(r, http.StatusOK, io.NopCloser(neverEnding{})) }
	for name, answer := range map[string]func(*http.Request) *http.Response{
		"unauthorized": func(r *http.Request) *http.Response { return respond(r, http.StatusUnauthorized, http.NoBody) },
		"not there":    func(r *http.Request) *http.Response { return respond(r, http.StatusNotFound, http.NoBody) },
		"ends at once": func(r *http.Request) *http.Response { return respond(r, http.StatusOK, http.NoBody) },
		"endless line": endless,
		"a page": func(r *http.Request) *http.Response {
			page := respond(r, http.StatusOK, io.NopCloser(strings.NewReader(revokedOne)))
			page.Header.Set("Content-Type", "text/html")
			return page
		},
		"compressed": func(r *http.Request) *http.Response {
			page := respond(r, http.StatusOK, io.NopCloser(strings.NewReader(revokedOne)))
			page.Header.Set("Content-Encoding", "gzip")
			return page
		},
		"elsewhere": func(r *http.Request) *http.Response {
			to := respond(r, http.StatusTemporaryRedirect, http.NoBody)
			to.Header.Set("Location", "https://evil.example/")
			return to
		},
		"wants no wait": func(r *http.Request) *http.Response {
			return respond(r, http.StatusOK, io.NopCloser(strings.NewReader("retry: 0\n\n")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, f := newClient(t, jwkstest.New(issuerURL), jwks.Config{}), &feed{answer: answer}
				subscribe(t, client, f)
				for range 60 {
					time.Sleep(time.Minute)
					wants(t, client, "1", nil)
				}
				if synctest.Wait(); f.asked < 60 || f.asked > 150 {
					t.Errorf("%d connections in an hour", f.asked)
				}
			})
		})
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte("x"), len(p))), nil
}

// A callback that panics or ends its goroutine costs one connection, or one fetch that
// an event asked for: the subscription goes on.
func TestCallbacksOfASubscriptionThatMisbehave(t *testing.T) {
	for way, misbehave := range map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit} {
		for _, name := range []string{"Token", "transport", "Logger", "Now"} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					armed, fired := "", 0
					once := func(callback string) {
						if armed == callback {
							armed, fired = "", fired+1
							misbehave()
						}
					}
					issuer := jwkstest.New(issuerURL)
					client := newClient(t, issuer, jwks.Config{
						Logger: slog.New(callingHandler{func() { once("Logger") }}),
						Now:    func() time.Time { once("Now"); return time.Now() },
					})
					f := &feed{opened: make(chan *connection, 10)}
					ctx, end := context.WithCancel(t.Context())
					done := make(chan error, 1)
					armed = name
					go func() {
						done <- client.Subscribe(ctx, jwks.Push{
							URL: issuerURL + "/events", Token: func(context.Context) (string, error) { once("Token"); return "token", nil },
							HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) { once("transport"); return f.RoundTrip(r) })},
						})
					}()
					time.Sleep(20 * time.Second)
					if !client.Stats().Subscribed || fired != 1 {
						t.Fatalf("fired %d times, %+v", fired, client.Stats())
					}
					stream := <-f.opened
					for len(f.opened) > 0 {
						stream = <-f.opened
					}
					before := issuer.Requests()
					armed = map[bool]string{true: name}[name == "Now" || name == "Logger"]
					stream.say(t, "event: key.created\ndata: {}\n\n")
					time.Sleep(time.Minute)
					if armed != "" || issuer.Requests() == before {
						t.Errorf("%d requests after the event, %d before", issuer.Requests(), before)
					}
					end()
					if err := <-done; !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestPushesThatCannotWork(t *testing.T) {
	client := newClient(t, jwkstest.New(issuerURL), jwks.Config{})
	for _, push := range []jwks.Push{{}, {URL: "http://issuer.example/events"}, {URL: "/events"}, {URL: issuerURL, Silence: -1}} {
		if err := client.Subscribe(t.Context(), push); !errors.Is(err, jwks.ErrArgument) {
			t.Errorf("%+v: %v", push, err)
		}
	}
	client.Close()
	if err := client.Subscribe(t.Context(), jwks.Push{URL: issuerURL}); !errors.Is(err, jwks.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
}

// Over a real network, with a token that changes, none of which is logged, and
// nothing is left behind.
func TestSubscribeOverTheNetwork(t *testing.T) {
	before := runtime.NumGoroutine()
	issuer := jwkstest.New("https://issuer.example")
	heard := make(chan string, 100)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			issuer.ServeHTTP(w, r)
			return
		}
		heard <- r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range []string{"retry: 1\r\nid: 1\r\n\r\nid: 2\r\nevent: key.re", "voked\r\ndata: {\"kid\":", "\"1\"}\r\n\r", "\n"} {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	issuer.URL = server.URL
	var log lockedBuffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client, err := jwks.New(jwks.Config{URL: issuer.JWKSURL(), HTTPClient: server.Client(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, client, "1", nil)
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	tokens := 0
	go func() {
		done <- client.Subscribe(ctx, jwks.Push{URL: server.URL + "/events?secret=hunter2", Header: http.Header{"User-Agent": {"test"}}, Token: func(context.Context) (string, error) {
			if tokens++; tokens == 2 {
				return "hunter2\n", nil // cannot be sent
			}
			return "hunter2-" + strconv.Itoa(tokens), nil
		}})
	}()
	if first, next := <-heard, <-heard; first != "Bearer hunter2-1" || next != "Bearer hunter2-3" {
		t.Errorf("tokens %q and %q", first, next)
	}
	wants(t, client, "1", jwks.ErrNoSigningKeys)
	end()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "event stream is lost") {
		t.Errorf("the log:\n%s", log.String())
	}
	client.Close()
	server.Close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, there were %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// lockedBuffer is a log that several goroutines write and read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
