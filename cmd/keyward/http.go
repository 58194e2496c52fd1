package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/internal/sdnotify"
)

// newServers returns the HTTP servers: one for everything, or one for the
// public paths and one for the admin address.
func (a *app) newServers(publicURL string) ([]*http.Server, error) {
	stop := make(chan struct{})
	api, err := a.newAPI(publicURL, stop)
	if err != nil {
		return nil, err
	}
	all := a.newServer(api)
	all.RegisterOnShutdown(sync.OnceFunc(func() { close(stop) })) // streams end only when told to
	if a.cfg.adminAddr == "" {
		a.transport.secureMain(all)
		return []*http.Server{all}, nil
	}
	public := a.newServer(api.Public())
	all.Handler = a.withProfiles(all.Handler)
	a.transport.secureMain(public)
	a.transport.secureAdmin(all)
	return []*http.Server{public, all}, nil
}

// newHealthServer returns the server of a worker's admin address: health checks
// and metrics.
func (a *app) newHealthServer(publicURL string) (*http.Server, error) {
	api, err := a.newAPI(publicURL, nil)
	if err != nil {
		return nil, err
	}
	s := a.newServer(a.withProfiles(api.Health()))
	a.transport.secureAdmin(s)
	return s, nil
}

// newAPI returns the handlers, and loads the certificates. Streams end when stop
// is closed.
func (a *app) newAPI(publicURL string, stop <-chan struct{}) (httpapi.API, error) {
	streams := a.cfg.streams
	streams.Stop = stop
	cfg := httpapi.Config{
		PublicURL: publicURL, Store: a.store, Snapshots: a.snapshots, Signer: a.signer, Tenants: a.tenants, Audit: a.audit,
		Adoption: a.adoption, Workloads: a.workloads,
		Webhooks: a.webhooks, Processes: a.listener,
		Ready: a.checkReady, ReadyPublic: a.checkPublic, Now: utcNow, Log: a.log, Version: versionText(),
		Streams: streams, TrustedProxies: a.cfg.trustedProxies, RateLimits: a.cfg.rateLimits,
		AccessLog: a.cfg.accessLog, Tracing: a.tracing != nil,
		ConsoleOrigins: a.cfg.consoleOrigins, Console: httpapi.ConsoleConfig{URL: a.cfg.consoleURL, Platform: a.readPlatform},
	}
	if err := a.configureOIDC(&cfg); err != nil {
		return nil, err
	}
	var err error
	if a.transport, err = a.cfg.loadTransport(); err != nil {
		return nil, err
	}
	if a.cfg.metrics {
		a.registry = a.newMetrics()
		cfg.Metrics, cfg.LocalMetrics = a.registry, a.cfg.adminAddr == ""
	}
	return httpapi.New(cfg)
}

func (a *app) newServer(h http.Handler) *http.Server { return newServer(a.tracing.handler(h), a.log) }

// newServer sets timeouts that cut off slow-loris clients, but leave slow
// honest ones 30 s for a request. WriteTimeout ends the requests of an HTTP/2
// client that reads nothing, but not its connection, so WriteByteTimeout does.
func newServer(h http.Handler, l *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 64 << 10,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 250, WriteByteTimeout: 30 * time.Second},
		ErrorLog: log.New(serverErrors{l}, "", 0),
	}
}

// serverErrors is the error log of the HTTP servers. That no connection can be accepted,
// as without file descriptors, concerns the operator; failed TLS handshakes are mostly of
// port scanners.
type serverErrors struct{ log *slog.Logger }

// Write logs one line.
func (e serverErrors) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	if cause, isAccept := strings.CutPrefix(text, "http: Accept error: "); isAccept {
		e.log.Warn("connections cannot be accepted", "error", cause)
	} else {
		e.log.Debug(text)
	}
	return len(line), nil
}

// verifierURL returns the configured public URL, else the URL of the listening
// address.
func (c config) verifierURL(at net.Addr) string {
	if c.publicURL != "" {
		return c.publicURL
	}
	return addressURL(at, c.tlsCert != "")
}

// adminURL returns the URL of the admin address.
func (c config) adminURL(at net.Addr) string {
	return addressURL(at, c.tlsCert != "" || c.adminTLSCert != "")
}

// addressURL returns the URL of a listening address on this machine.
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

// serveRequests serves until ctx is done and requests in flight have ended or
// timed out. It calls ready once it accepts requests on every address.
func (a *app) serveRequests(ctx context.Context, servers []*http.Server, listeners []net.Listener, ready func()) error {
	failed := make(chan error, len(servers))
	for i, s := range servers {
		go func() {
			failed <- serveGuarded(s, listeners[i], a.cfg.maxConnections, a.log)
		}()
	}
	ready()
	sdnotify.Notify("READY=1")
	select {
	case err := <-failed:
		return errors.Join(err, a.shutdownServers(ctx, servers))
	case <-ctx.Done():
	}
	a.announceStop()
	time.Sleep(a.drainTime(ctx))
	return a.shutdownServers(ctx, servers)
}

// announceStop makes /readyz and /readyz/public answer 503.
func (a *app) announceStop() {
	if !a.stopping.Swap(true) {
		sdnotify.Notify("STOPPING=1")
		a.log.Info("shutting down; repeat the signal to stop at once")
	}
}

// terminated is the cause of a context that ended by SIGTERM.
type terminated struct{}

// Error implements error.
func (terminated) Error() string { return "terminated" }

// defaultDrainDelay is how long load balancers and Kubernetes get by default to
// notice that /readyz is at 503.
const defaultDrainDelay = 5 * time.Second

// drainTime returns how long to serve after ctx has ended. Unless configured, only
// SIGTERM, a service manager's signal, delays the end; Ctrl-C does not.
func (a *app) drainTime(ctx context.Context) time.Duration {
	if a.cfg.drainDelay >= 0 {
		return a.cfg.drainDelay
	}
	if errors.Is(context.Cause(ctx), terminated{}) {
		return defaultDrainDelay
	}
	return 0
}

// shutdownServers waits for the requests in flight of all servers in parallel.
func (a *app) shutdownServers(ctx context.Context, servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.shutdownTimeout)
	defer cancel()
	var g errgroup.Group
	for _, s := range servers {
		g.Go(func() error {
			err := s.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				a.log.Warn("shutdown timeout: requests in flight aborted", "after", a.cfg.shutdownTimeout)
				err = s.Close()
			}
			return err
		})
	}
	return g.Wait()
}
