package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/sdnotify"
)

const (
	// pollInterval is how often Keyward is asked: so much later a change is in the bundle.
	pollInterval = 5 * time.Second
	// certificateInterval is how often the files of the certificate are read.
	certificateInterval = time.Minute
	// shutdownTimeout is how long requests under way may take when the process ends.
	shutdownTimeout = 5 * time.Second
)

// front serves the bundles of trust domains.
type front struct {
	sources  map[string]*source // by trust domain
	certs    *certificate
	interval time.Duration // between requests to Keyward
	log      *slog.Logger
}

// newFront returns a front, after it has seen that each tenant has keys for JWT-SVIDs and
// that no two trust domains are of the same tenant, which could then issue for both.
func newFront(ctx context.Context, o options, log *slog.Logger) (*front, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	certs := &certificate{certFile: o.certFile, keyFile: o.keyFile}
	if err := certs.load(); err != nil {
		return nil, err
	}
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	api, err := client.NewClient(o.url, client.WithHTTPClient(&http.Client{CheckRedirect: noRedirects}))
	if err != nil {
		return nil, err
	}
	f := &front{sources: map[string]*source{}, certs: certs, interval: pollInterval, log: log}
	issuers := map[string]string{}
	for _, domain := range slices.Sorted(maps.Keys(o.domains)) {
		s := &source{domain: domain, tenant: o.domains[domain], api: api, pin: o.pin(domain), now: time.Now, log: log, leftOut: map[string]bool{}}
		if err := s.refresh(ctx); err != nil {
			return nil, fmt.Errorf("trust domain %s: %w", domain, err)
		}
		b := s.current.Load()
		if b.keys == 0 {
			return nil, fmt.Errorf("trust domain %s: the tenant publishes no key of an algorithm of JWT-SVIDs", domain)
		}
		if other, twice := issuers[b.issuer]; twice {
			return nil, fmt.Errorf("the trust domains %s and %s are of the same tenant", other, domain)
		}
		issuers[b.issuer], f.sources[domain] = domain, s
	}
	return f, nil
}

// serve serves until ctx is done, and lets requests under way end.
func (f *front) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: f.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog:  slog.NewLogLogger(f.log.Handler(), slog.LevelDebug), // what clients do wrong
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.certs.get},
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, s := range f.sources {
		go s.follow(ctx, f.interval)
		f.log.Info("serving a SPIFFE bundle", "trust_domain", s.domain, "path", "/"+s.domain+"/bundle.json", "tenant", s.tenant, "issuer", s.current.Load().issuer, "addr", listener.Addr().String())
	}
	go f.certs.follow(ctx, certificateInterval, f.log)
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		sdnotify.Notify("STOPPING=1")
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		ended <- server.Shutdown(grace)
	}()
	sdnotify.Notify("READY=1") // the listener accepts connections already
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// handler answers requests for bundles, without a credential (SPIFFE Federation, section
// 5.2.1.3).
func (f *front) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{domain}/bundle.json", f.serveBundle)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", f.serveReadiness)
	return mux
}

func (f *front) serveBundle(w http.ResponseWriter, r *http.Request) {
	s := f.sources[r.PathValue("domain")]
	if s == nil {
		http.Error(w, "There is no bundle of this trust domain here.", http.StatusNotFound)
		return
	}
	b := s.usable()
	if b == nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(pollInterval/time.Second)))
		http.Error(w, "Keyward has not answered for too long.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", `"`+strconv.FormatUint(b.sequence, 10)+`"`)
	w.Header().Set("Cache-Control", "no-cache") // a cache would add to the age of the keys
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.document))
}

// serveReadiness answers 200 while every bundle may be used.
func (f *front) serveReadiness(w http.ResponseWriter, _ *http.Request) {
	var missing []string
	for domain, s := range f.sources {
		if s.usable() == nil {
			missing = append(missing, domain)
		}
	}
	if len(missing) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	slices.Sort(missing)
	http.Error(w, "no bundle of "+strings.Join(missing, ", "), http.StatusServiceUnavailable)
}

// certificate is that of the server. Its files are read again while it serves, since public
// authorities issue for weeks only.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// load reads the files.
func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// follow reads the files every so often until ctx is done. A certificate that cannot be read
// leaves the last one in use.
func (c *certificate) follow(ctx context.Context, every time.Duration, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		if err := c.load(); err != nil {
			log.Warn("the last certificate stays in use", "error", err)
		}
	}
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}
