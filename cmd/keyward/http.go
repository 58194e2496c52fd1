package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/keyward/keyward/httpapi"
	"golang.org/x/sync/errgroup"
)

// newServers serve the API: all of it on one address, or on two the public paths
// and the rest.
func (a *app) newServers(publicURL string) ([]*http.Server, error) {
	stop := make(chan struct{})
	cfg := httpapi.Config{
		PublicURL: publicURL, Store: a.store, Snapshots: a.snapshots, Signer: a.signer, Tenants: a.tenants, Audit: a.audit,
		Webhooks: a.webhooks,
		Ready:    a.checkReady, Now: now, Log: a.log, Version: versionText(),
		Streams: httpapi.Streams{Stop: stop}, TrustedProxies: a.cfg.trustedProxies, RateLimits: a.cfg.rateLimits,
		ConsoleOrigins: a.cfg.consoleOrigins,
	}
	if err := a.configureOIDC(&cfg); err != nil {
		return nil, err
	}
	var err error
	if a.transport, err = a.cfg.loadTransport(); err != nil {
		return nil, err
	}
	if a.cfg.metrics {
		cfg.Metrics = a.newMetrics()
	}
	api, err := httpapi.New(cfg)
	if err != nil {
		return nil, err
	}
	all := a.newServer(api)
	all.RegisterOnShutdown(sync.OnceFunc(func() { close(stop) })) // a stream is never done by itself
	if a.cfg.adminAddr == "" {
		a.transport.secureMain(all)
		return []*http.Server{all}, nil
	}
	public := a.newServer(api.Public())
	a.transport.secureMain(public)
	a.transport.secureAdmin(all)
	return []*http.Server{public, all}, nil
}

// newServer has limits for clients that mean no good; one that is slow and
// honest fits in.
func (a *app) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // handshakes of port scanners and the like
	}
}

// verifierURL is the URL that verifiers use: the configured one, else the address
// that is listened on.
func (c config) verifierURL(at net.Addr) string {
	if c.publicURL != "" {
		return c.publicURL
	}
	return addressURL(at, c.tlsCert != "")
}

// adminURL is the URL of the admin address.
func (c config) adminURL(at net.Addr) string {
	return addressURL(at, c.tlsCert != "" || c.adminTLSCert != "")
}

// addressURL is the URL of an address of this machine.
func addressURL(at net.Addr, tls bool) string {
	scheme := "http"
	if tls {
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

// serveRequests answers requests until ctx is over and those in flight have been
// answered, or have taken too long. ready is called once requests are taken, on
// every address.
func (a *app) serveRequests(ctx context.Context, servers []*http.Server, listeners []net.Listener, ready func()) error {
	failed := make(chan error, len(servers))
	for i, s := range servers {
		go func() {
			if s.TLSConfig != nil {
				failed <- s.ServeTLS(listeners[i], "", "")
				return
			}
			failed <- s.Serve(listeners[i])
		}()
	}
	ready()
	select {
	case err := <-failed:
		return errors.Join(err, a.shutdownServers(ctx, servers))
	case <-ctx.Done():
	}
	a.stopping.Store(true)
	a.log.Info("stopping; again to stop at once")
	time.Sleep(a.cfg.drainDelay)
	return a.shutdownServers(ctx, servers)
}

// shutdownServers waits for requests in flight, on all addresses at once.
func (a *app) shutdownServers(ctx context.Context, servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.shutdownTimeout)
	defer cancel()
	var g errgroup.Group
	for _, s := range servers {
		g.Go(func() error {
			err := s.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				a.log.Warn("requests in flight were cut off", "after", a.cfg.shutdownTimeout)
				err = s.Close()
			}
			return err
		})
	}
	return g.Wait()
}
