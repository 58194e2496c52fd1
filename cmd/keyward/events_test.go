package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyward/keyward/client"
)

// following is a running keyward events.
type following struct {
	t        *testing.T
	out, log chan string // lines
	stop     func() int  // interrupts it and returns the exit code
}

func follow(t *testing.T, env environ, args ...string) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{t: t, out: make(chan string, 10_000), log: make(chan string, 10_000)}
	code := make(chan int, 1)
	stdout, stderr := &lines{to: f.out}, &lines{to: f.log}
	go func() {
		place := shown.Place("what " + t.Name() + " heard")
		code <- runProgram(ctx, append([]string{"events"}, args...), strings.NewReader(""), io.MultiWriter(stdout, place), io.MultiWriter(stderr, place), env.get)
		close(f.out)
		close(f.log)
	}()
	f.stop = func() int {
		cancel()
		c := <-code
		code <- c
		return c
	}
	t.Cleanup(func() { f.stop() })
	return f
}

// lines sends complete lines to a channel.
type lines struct {
	to   chan string
	rest string
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest += string(b)
	for {
		line, rest, whole := strings.Cut(l.rest, "\n")
		if !whole {
			return len(b), nil
		}
		l.to <- line
		l.rest = rest
	}
}

// next returns the next line of a channel, or fails the test.
func (f *following) next(from chan string) string {
	f.t.Helper()
	select {
	case line, open := <-from:
		if !open {
			f.t.Fatal("it ended")
		}
		return line
	case <-time.After(patience):
		f.t.Fatal("nothing is said")
	}
	return ""
}

// says reads stderr up to a line that contains a text.
func (f *following) says(text string) {
	f.t.Helper()
	for !strings.Contains(f.next(f.log), text) {
	}
}

// heard is an event as printed by --json.
type heard struct {
	ID string `json:"id"`
	client.AuditEvent
}

func (f *following) event() (e heard) {
	f.t.Helper()
	unmarshal(f.t, []byte(f.next(f.out)), &e)
	return e
}

// Events are printed until Ctrl-C, and --since continues after the last one.
func TestEvents(t *testing.T) {
	env := served(t)
	own, all := follow(t, env, "--tenant=acme"), follow(t, env, "--json")
	own.says("Streaming the events of acme")
	all.says("Streaming the events of all tenants")
	ok(t, env, "tenant", "update", "acme", "--name=One")
	line := own.next(own.out)
	for _, part := range []string{"acme", "tenant.updated", "by "} {
		if !strings.Contains(line, part) {
			t.Errorf("%q lacks %q", line, part)
		}
	}
	one := all.event()
	for one.Action != "tenant.updated" {
		one = all.event()
	}
	if one.ID == "" || one.Tenant != "acme" || one.Hash == "" {
		t.Errorf("%+v", one)
	}
	if code := own.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	own.says("--since ")
	if code := all.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	ok(t, env, "tenant", "update", "acme", "--name=Two")
	later := follow(t, env, "--json", "--since="+one.ID)
	if two := later.event(); two.Tenant != "acme" || two.Seq != one.Seq+1 {
		t.Errorf("%d of %s after %d", two.Seq, two.Tenant, one.Seq)
	}
	keyward(t, env, "events", "--tenant=acme", "--since="+one.ID).want(t, exitFailed, "invalid_request", "Resynchronise", "without --since")
	keyward(t, env, "events", "--since=1").want(t, exitFailed, "Resynchronise")
	keyward(t, env, "events", "--tenant=nobody").want(t, exitFailed, "tenant_not_found")
	keyward(t, environ{}, "events").want(t, exitUsage, "KEYWARD_API_KEY")
}

// The deletion of a tenant is printed and ends its stream.
func TestEventsOfATenantThatIsDeleted(t *testing.T) {
	env := served(t)
	f := follow(t, env, "--tenant=acme")
	f.says("Streaming the events")
	ok(t, env, "tenant", "delete", "acme", "--yes")
	for !strings.Contains(f.next(f.out), "tenant.deleted") {
	}
	f.says("The server closed the stream: the tenant was deleted")
	f.says("tenant_not_found")
	for range f.log {
	}
	if code := f.stop(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}

// After every kind of interruption each event is printed once, with a note
// about the interruption.
func TestEventsAreGoneOnWith(t *testing.T) {
	deployed := deployed(t)
	env := servedOn(t, deployed)
	var at atomic.Pointer[url.URL] // target of the proxy
	var cut atomic.Pointer[string] // text sent before cutting the open stream
	lead := func(to string) {
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		at.Store(u)
	}
	lead(env["KEYWARD_URL"])
	cuts := make(chan struct{})
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at.Load()) }, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			select {
			case <-cuts:
				cancel()
			case <-ctx.Done():
			}
		}()
		func() {
			defer func() { _ = recover() }() // ReverseProxy panics to abort
			proxy.ServeHTTP(w, r.WithContext(ctx))
		}()
		if cancel(); cut.Load() != nil {
			fmt.Fprint(w, *cut.Load())
			_ = http.NewResponseController(w).Flush()
		}
		<-done
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)

	f := follow(t, environ{"KEYWARD_URL": s.URL, "KEYWARD_API_KEY": env["KEYWARD_API_KEY"]}, "--json", "--tenant=acme")
	f.says("Streaming the events")
	last := int64(0)
	change := func(name string) {
		t.Helper()
		ok(t, env, "tenant", "update", "acme", "--name="+name)
		e := f.event()
		if last != 0 && e.Seq != last+1 {
			t.Errorf("%d after %d", e.Seq, last)
		}
		last = e.Seq
		if details, _ := json.Marshal(e.Details); !strings.Contains(string(details), name) {
			t.Errorf("%s does not tell of %s", details, name)
		}
	}
	change("one")
	slow := ": too slow; go on with Last-Event-ID\n\n"
	cut.Store(&slow)
	cuts <- struct{}{}
	change("two")
	f.says("The server closed the stream: too slow; go on with Last-Event-ID")
	f.says("Reconnected")
	cut.Store(nil)
	cuts <- struct{}{}
	change("three")
	f.says("Connection lost: ")
	f.says("Reconnected")

	second := launch(t, deployed, "serve", "--log-format=text", "--no-worker")
	lead(second.until(t, `msg=serving url=(\S+)`)[1])
	cuts <- struct{}{}
	f.says("Reconnected")
	change("four")
	lead(env["KEYWARD_URL"])
	if code := second.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	change("five")
	f.says("this process is shutting down")
	f.says("Reconnected")
	if code := f.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// A repeated failure is noted once, with its cause if known.
func TestWhatIsSaidOfAStream(t *testing.T) {
	var said strings.Builder
	f := follower{p: &program{stderr: &said}, tenant: "acme"}
	gone := client.Turn{Err: errors.New("no answer")}
	for _, turn := range []client.Turn{
		{Open: true},
		gone, gone,
		{Open: true},
		gone,
		{Err: io.ErrUnexpectedEOF, Held: 12 * time.Second},
		{Err: io.ErrUnexpectedEOF, Held: time.Second},
		{Err: io.EOF, Reason: "over\x1b[2J", Held: time.Hour},
	} {
		f.onTurn(turn)
	}
	want := `Streaming the events of acme. Press Ctrl-C to stop.
Connection lost: no answer. Retrying.
Reconnected; continuing after the last event.
Connection lost: no answer. Retrying.
Connection lost, probably as a slow reader: writing one event took 12s. Retrying.
Connection lost: unexpected EOF. Retrying.
The server closed the stream: over?[2J. Retrying.
`
	if said.String() != want {
		t.Errorf("%s", said.String())
	}
}
