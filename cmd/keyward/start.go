package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/internal/sdnotify"
	"github.com/keyward/keyward/keys/seal"
)

const (
	openRetry   = time.Second      // between attempts to open the database
	openTimeout = 30 * time.Second // of one attempt, without migrations
	waitNotice  = time.Minute      // between log lines while a service waits
	answerAfter = time.Second      // the first attempt takes, health checks are answered
)

// errStopped means that a signal ended a service before it had started.
var errStopped = errors.New("stopped before the start was complete")

// lack is what a start waits for: a part of the readiness, and for anybody why it is absent.
type lack struct{ part, reason string }

// unanswered is what an attempt lacks that takes long: it is not known who makes it wait.
var unanswered = lack{"start", "PostgreSQL or the KMS has not answered yet"}

// errNoAnswer means that an attempt was given up.
var errNoAnswer = fmt.Errorf("PostgreSQL or the KMS has not answered within %v", openTimeout)

// mayPass reports whether err ends without a change of the configuration: PostgreSQL
// ([db.MayPass]), or the KMS of the master key, does not answer.
func mayPass(err error) (l lack, passes bool) {
	if errors.Is(err, errNoAnswer) {
		return unanswered, true
	}
	if errors.Is(err, seal.ErrUnavailable) {
		return lack{"master_key", "the KMS of the master key does not respond"}, true
	}
	reason, passes := db.MayPass(err)
	return lack{"database", reason}, passes
}

// opening is the start of a service, which waits for PostgreSQL and for a KMS.
type opening struct {
	*program
	publicURL     string
	migrate       bool
	public, admin net.Listener // nil: not listened on
}

// attempted is the result of an attempt.
type attempted struct {
	app *app
	err error
}

// run opens the app. While PostgreSQL or the KMS is unavailable for a reason that may pass, it
// tries again each second, for KEYWARD_START_WAIT. If the start takes longer than answerAfter it
// answers health checks meanwhile, on both addresses. With KEYWARD_FALLBACK_DIR it serves
// copies on the public one, and waits without limit. Errors: errStopped.
func (o *opening) run(ctx context.Context) (*app, error) {
	if _, err := o.masterURI(); err != nil {
		return nil, err // which waiting does not mend
	}
	o.warnAboutTLS()
	copies, bad := o.cfg.openFallback()
	if copies != nil {
		defer copies.root.Close()
	}
	s := &starting{copies: copies}
	defer s.close()
	first := o.attemptServing(ctx, s)
	switch {
	case first.err == nil:
		return first.app, nil
	case ctx.Err() != nil:
		return nil, errStopped
	case bad != nil:
		return nil, errors.Join(first.err, bad)
	}
	missing, passes := mayPass(first.err)
	if !passes || o.cfg.startWait == 0 && copies == nil {
		return nil, first.err
	}
	if err := s.serve(ctx, o, missing); err != nil {
		return nil, err
	}
	o.announceWait(s, missing.reason, first.err)
	return o.wait(ctx, s, missing)
}

// attemptServing makes the first attempt, and has health checks answered if it takes long,
// as with a database that hangs or a migration.
func (o *opening) attemptServing(ctx context.Context, s *starting) attempted {
	first := make(chan attempted, 1)
	go func() {
		a, err := o.attempt(ctx)
		first <- attempted{a, err}
	}()
	select {
	case done := <-first:
		return done
	case <-time.After(answerAfter):
	}
	_ = s.serve(ctx, o, unanswered) // an error of the certificates is returned by what follows
	return <-first
}

// wait tries until the app is open or waiting is of no use.
func (o *opening) wait(ctx context.Context, s *starting, missing lack) (*app, error) {
	began := time.Now()
	noticed := began
	for {
		sdnotify.Notify("STATUS=waiting: " + missing.reason + "\nEXTEND_TIMEOUT_USEC=60000000") // more than an attempt takes
		if db.Pause(ctx, openRetry) != nil {
			o.log.Info("shutting down")
			return nil, errStopped
		}
		a, err := o.attempt(ctx)
		waited := time.Since(began).Round(time.Second)
		if err == nil {
			o.log.Info("what was waited for is available: starting", "waited", waited)
			sdnotify.Notify("STATUS=")
			return a, nil
		}
		if ctx.Err() != nil {
			continue // Pause returns at once
		}
		var passes bool
		if missing, passes = mayPass(err); !passes {
			return nil, err
		}
		if s.copies == nil && o.cfg.startWait > 0 && waited >= o.cfg.startWait {
			return nil, fmt.Errorf("%s, and not within KEYWARD_START_WAIT, %v: %w", missing.reason, o.cfg.startWait, err)
		}
		s.missing.Store(&missing)
		if time.Since(noticed) >= waitNotice {
			noticed = time.Now()
			o.log.Warn("still waiting to start", "waited", waited, "reason", missing.reason, "error", err)
		}
	}
}

// announceWait logs that the service waits, and why.
func (o *opening) announceWait(s *starting, reason string, err error) {
	if s.copies != nil {
		o.log.Warn("the start cannot be completed: serving copies of JWK Sets until it can", "dir", o.cfg.fallbackDir, "addr", o.public.Addr().String(),
			"reason", reason, "error", err)
		sdnotify.Notify("READY=1")
		return
	}
	attrs := []any{"reason", reason, "error", err}
	if o.public != nil {
		attrs = append(attrs, "addr", o.public.Addr().String())
	}
	if o.admin != nil {
		attrs = append(attrs, "admin_addr", o.admin.Addr().String())
	}
	o.log.Warn("the start cannot be completed: waiting; KEYWARD_START_WAIT bounds how long", attrs...)
}

// attempt migrates the schema, if it is to, and opens the app within openTimeout. The
// context of a successful attempt stays alive, because clients of a KMS keep it.
func (o *opening) attempt(ctx context.Context) (*app, error) {
	if o.migrate {
		if err := o.migrateSchema(ctx); err != nil {
			return nil, err
		}
	}
	attempt, cancel := context.WithCancel(ctx)
	timeout := time.AfterFunc(openTimeout, cancel)
	a, err := o.openApp(attempt, o.publicURL)
	timely := timeout.Stop()
	if err == nil && timely {
		return a, nil
	}
	if err == nil {
		a.close()
	}
	cancel()
	if !timely {
		return nil, errNoAnswer
	}
	return nil, err
}

// starting answers while the service starts: /healthz 200, readiness 503 with the reason,
// everything else 503. With copies verifiers are served from them, and /readyz/public is 200.
type starting struct {
	missing atomic.Pointer[lack]
	copies  *fallback // nil: none
	stops   []func()
}

// serve answers on both addresses from now on, and says what the service waits for.
func (s *starting) serve(ctx context.Context, o *opening, missing lack) error {
	s.missing.Store(&missing)
	if s.stops != nil {
		return nil
	}
	t, err := o.cfg.loadTransport()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s.stops = append(s.stops, cancel)
	go feedWatchdog(ctx)
	for _, at := range []struct {
		listener net.Listener
		handler  http.Handler
		secure   func(*http.Server)
	}{{o.public, s, t.secureMain}, {o.admin, s.withoutCopies(), t.secureAdmin}} {
		if at.listener == nil {
			continue
		}
		server := newServer(at.handler, o.log)
		at.secure(server)
		s.stops = append(s.stops, serveHeld(server, at.listener, o.cfg.maxConnections, o.log))
	}
	return nil
}

// close ends that, and leaves the listeners open: connections that arrive meanwhile wait for
// the service.
func (s *starting) close() {
	for _, stop := range s.stops {
		stop()
	}
}

// ServeHTTP implements [http.Handler].
func (s *starting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, s.copies)
}

// withoutCopies returns the handler of the admin address.
func (s *starting) withoutCopies() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, nil) })
}

func (s *starting) answer(w http.ResponseWriter, r *http.Request, copies *fallback) {
	missing, process := s.missing.Load(), httpapi.Check{Detail: new("starting")}
	switch {
	case r.URL.Path == "/healthz":
		replyHealth(w, http.StatusOK, httpapi.Health{Status: httpapi.HealthStatusOk})
	case r.URL.Path == "/readyz":
		replyHealth(w, http.StatusServiceUnavailable, httpapi.Readiness{
			Status: httpapi.ReadinessStatusUnavailable, Checks: map[string]httpapi.Check{missing.part: {Detail: &missing.reason}, "process": process},
		})
	case r.URL.Path == "/readyz/public" && s.copies != nil:
		replyHealth(w, http.StatusOK, httpapi.Readiness{Status: httpapi.ReadinessStatusOk, Checks: map[string]httpapi.Check{"process": {Ok: true}}})
	case r.URL.Path == "/readyz/public":
		replyHealth(w, http.StatusServiceUnavailable, httpapi.Readiness{
			Status: httpapi.ReadinessStatusUnavailable, Checks: map[string]httpapi.Check{"process": process},
		})
	case copies != nil:
		copies.ServeHTTP(w, r)
	default:
		unavailable(w)
	}
}

func replyHealth(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// serveHeld serves until stop is called, which leaves the listener open.
func serveHeld(s *http.Server, l net.Listener, mostConns int, log *slog.Logger) (stop func()) {
	held := &heldListener{Listener: l}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = serveGuarded(s, held, mostConns, log) // always an error: it is stopped
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // what is left is cut off
		}
		<-ended
		held.release()
	}
}

// heldListener ends Accept when it is closed, and keeps the listener below open.
type heldListener struct{ net.Listener }

type deadliner interface{ SetDeadline(time.Time) error }

// Accept implements [net.Listener].
func (l *heldListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = net.ErrClosed
	}
	return conn, err
}

// Close implements [net.Listener].
func (l *heldListener) Close() error {
	if d, ok := l.Listener.(deadliner); ok {
		return d.SetDeadline(time.Unix(1, 0))
	}
	return nil
}

// release lets the listener accept again.
func (l *heldListener) release() {
	if d, ok := l.Listener.(deadliner); ok {
		_ = d.SetDeadline(time.Time{}) // fails only for a listener that is closed
	}
}
