package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/keyward/keyward/httpapi"
)

// newServer serves the API. The limits are for clients that mean no good; one
// that is slow and honest fits in.
func (a *app) newServer(publicURL string) (*http.Server, error) {
	stop := make(chan struct{})
	cfg := httpapi.Config{
		PublicURL: publicURL, Store: a.store, Snapshots: a.snapshots, Signer: a.signer, Tenants: a.tenants, Audit: a.audit,
		Webhooks: a.webhooks,
		Ready:    a.checkReady, Now: now, Log: a.log, Version: versionText(),
		Streams: httpapi.Streams{Stop: stop}, TrustedProxies: a.cfg.trustedProxies, RateLimits: a.cfg.rateLimits,
	}
	if a.cfg.metrics {
		cfg.Metrics = a.newMetrics()
	}
	handler, err := httpapi.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // handshakes of port scanners and the like
	}
	s.RegisterOnShutdown(sync.OnceFunc(func() { close(stop) })) // a stream is never done by itself
	return s, a.cfg.secure(s)
}

// secure loads the certificate, if there is one.
func (c config) secure(s *http.Server) error {
	if c.tlsCert == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
		return &usageError{"KEYWARD_TLS_CERT and KEYWARD_TLS_KEY must be files in PEM that belong together: " + err.Error()}
	}
	s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	return nil
}

// public is the URL that verifiers use: the configured one, else the address
// that is listened on.
func (c config) public(at net.Addr) string {
	if c.publicURL != "" {
		return c.publicURL
	}
	scheme := "http"
	if c.tlsCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return scheme + "://" + at.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// serve answers requests until ctx is over and those in flight have been
// answered, or have taken too long. ready is called once requests are taken.
func (a *app) serve(ctx context.Context, s *http.Server, l net.Listener, ready func()) error {
	failed := make(chan error, 1)
	go func() {
		if s.TLSConfig != nil {
			failed <- s.ServeTLS(l, "", "")
			return
		}
		failed <- s.Serve(l)
	}()
	ready()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	a.stopping.Store(true)
	a.log.Info("stopping; again to stop at once")
	time.Sleep(a.cfg.drainDelay)
	return a.finish(ctx, s)
}

// finish waits for requests in flight.
func (a *app) finish(ctx context.Context, s *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.shutdownTimeout)
	defer cancel()
	err := s.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn("requests in flight were cut off", "after", a.cfg.shutdownTimeout)
		err = s.Close()
	}
	return err
}
