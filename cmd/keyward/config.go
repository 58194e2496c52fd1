package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/signin"
)

// settings are the configuration as it was typed.
type settings struct {
	DatabaseURL       string `name:"database-url" var:"KEYWARD_DATABASE_URL" placeholder:"URL" help:"The database, as in postgres://user@host:5432/database."`
	ListenDatabaseURL string `name:"listen-database-url" var:"KEYWARD_LISTEN_DATABASE_URL" placeholder:"URL" help:"The same database without a transaction pooler between, for LISTEN and migrations. Default: the database URL."`
	ReadDatabaseURL   string `name:"read-database-url" var:"KEYWARD_READ_DATABASE_URL" placeholder:"URL" help:"A streaming standby of the database, for what verifiers read. Default: none."`
	DBMaxConns        string `name:"db-max-conns" var:"KEYWARD_DB_MAX_CONNS" placeholder:"N" help:"Connections to the database, at most. Default: 4 or the number of CPUs."`
	MasterKey         string `name:"master-key" var:"KEYWARD_MASTER_KEY" placeholder:"URI" help:"The master key, as in file:/etc/keyward/master.json."`
	Addr              string `name:"addr" var:"KEYWARD_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where to listen. Default: ${default}."`
	AdminAddr         string `name:"admin-addr" var:"KEYWARD_ADMIN_ADDR" placeholder:"HOST:PORT" help:"Where to listen for all that is not public: the admin API, its documentation and /metrics. Default: the same address."`
	ConsoleOrigins    string `name:"console-origins" var:"KEYWARD_CONSOLE_ORIGINS" placeholder:"ORIGINS" help:"Origins whose scripts may call the admin API, as in https://console.example.com,http://localhost:3000. Default: none."`
	AdminTLSCert      string `name:"admin-tls-cert" var:"KEYWARD_ADMIN_TLS_CERT" placeholder:"FILE" help:"Certificate chain of the admin address in PEM. Default: that of the main address."`
	AdminTLSKey       string `name:"admin-tls-key" var:"KEYWARD_ADMIN_TLS_KEY" placeholder:"FILE" help:"Private key of that certificate in PEM."`
	AdminClientCA     string `name:"admin-client-ca" var:"KEYWARD_ADMIN_CLIENT_CA" placeholder:"FILE" help:"Certificates in PEM of who issues those that clients of the admin address must have. Default: none are asked for."`
	PublicURL         string `name:"public-url" var:"KEYWARD_PUBLIC_URL" placeholder:"URL" help:"Where verifiers reach this service; issuers begin with it. Default: http://<addr>."`
	TLSCert           string `name:"tls-cert" var:"KEYWARD_TLS_CERT" placeholder:"FILE" help:"Certificate chain in PEM, to serve HTTPS."`
	TLSKey            string `name:"tls-key" var:"KEYWARD_TLS_KEY" placeholder:"FILE" help:"Private key of the certificate in PEM."`
	Metrics           bool   `name:"metrics" var:"KEYWARD_METRICS" default:"true" negatable:"" help:"Serve /metrics, on the admin address. Default: yes."`
	LogLevel          string `name:"log-level" var:"KEYWARD_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${default}."`
	LogFormat         string `name:"log-format" var:"KEYWARD_LOG_FORMAT" default:"text" placeholder:"FORMAT" help:"text or json. Default: ${default}."`
	RotationJitter    string `name:"rotation-jitter" var:"KEYWARD_ROTATION_JITTER" default:"0.05" placeholder:"FRACTION" help:"Rotations are late by up to this fraction of their interval, so that tenants do not rotate together. Default: ${default}."`
	MaxStale          string `name:"max-stale" var:"KEYWARD_MAX_STALE" default:"24h" placeholder:"DURATION" help:"How long a JWKS is served from memory without the database. Default: ${default}."`
	CacheMB           string `name:"cache-mb" var:"KEYWARD_CACHE_MB" default:"256" placeholder:"MB" help:"Memory for what verifiers read. Default: ${default}."`
	TrustedProxies    string `name:"trusted-proxies" var:"KEYWARD_TRUSTED_PROXIES" placeholder:"CIDRS" help:"Proxies that are believed about client addresses, as in 10.0.0.0/8,2001:db8::1. Default: none."`
	RateLimitAddress  string `name:"rate-limit-address" var:"KEYWARD_RATE_LIMIT_ADDRESS" placeholder:"RATE" help:"Requests by one client address, as in 100/s or 6000/m:200. Default: no limit."`
	RateLimitCred     string `name:"rate-limit-credential" var:"KEYWARD_RATE_LIMIT_CREDENTIAL" placeholder:"RATE" help:"Requests with one credential, in the same form. Default: no limit."`
	WebhookAllow      string `name:"webhook-allow" var:"KEYWARD_WEBHOOK_ALLOW" placeholder:"CIDRS" help:"Private networks that webhooks may reach, also by http, as in 10.1.0.0/16,fd00::/8. Default: none."`
	OIDCIssuer        string `name:"oidc-issuer" var:"KEYWARD_OIDC_ISSUER" placeholder:"URL" help:"The identity provider whose access tokens the admin API accepts. Default: none."`
	OIDCAudience      string `name:"oidc-audience" var:"KEYWARD_OIDC_AUDIENCE" placeholder:"NAMES" help:"What the tokens' aud must have one of, with commas between."`
	OIDCAlgorithms    string `name:"oidc-algorithms" var:"KEYWARD_OIDC_ALGORITHMS" placeholder:"ALGS" help:"Their algorithms, with commas between. Default: RS256,PS256,ES256,ES384,EdDSA,Ed25519."`
	OIDCRoles         string `name:"oidc-roles" var:"KEYWARD_OIDC_ROLES" placeholder:"RULES" help:"Which claim gives which role; the first rule met decides. As in groups=admins:platform_admin,groups=acme-ops:tenant_admin@acme."`
	DrainDelay        string `name:"drain-delay" var:"KEYWARD_DRAIN_DELAY" default:"0s" placeholder:"DURATION" help:"How long to go on serving after a signal, with /readyz at 503, so that load balancers notice. Default: ${default}."`
	ShutdownTimeout   string `name:"shutdown-timeout" var:"KEYWARD_SHUTDOWN_TIMEOUT" default:"30s" placeholder:"DURATION" help:"How long requests in flight may take then. Default: ${default}."`
}

// config is the configuration, checked.
type config struct {
	databaseURL     string // empty: not set
	listenURL       string
	readURL         string // empty: no standby
	maxConns        int32  // 0: pgx decides
	masterKey       string // empty: not set
	addr            string
	adminAddr       string   // empty: addr serves everything
	adminClientCA   string   // empty: no client certificates
	consoleOrigins  []string // as browsers write them
	publicURL       string   // empty: the address makes it
	tlsCert, tlsKey string   // both or none
	adminTLSCert    string   // empty: those of the main address
	adminTLSKey     string
	metrics         bool
	logLevel        slog.Level
	logJSON         bool
	jitter          float64
	maxStale        time.Duration
	cacheBytes      uint64
	trustedProxies  []netip.Prefix
	rateLimits      httpapi.RateLimits
	webhookAllow    []netip.Prefix
	signIn          signin.Config // Issuer empty: none
	drainDelay      time.Duration
	shutdownTimeout time.Duration
}

// parse checks every setting. The error is a *usageError that names the first
// bad one and what it accepts.
func (s settings) parse(ctx context.Context) (config, error) {
	var c checks
	c.transport(s)
	return config{
		databaseURL:    c.database(ctx, "KEYWARD_DATABASE_URL", s.DatabaseURL),
		listenURL:      c.database(ctx, "KEYWARD_LISTEN_DATABASE_URL", cmp.Or(s.ListenDatabaseURL, s.DatabaseURL)),
		readURL:        c.database(ctx, "KEYWARD_READ_DATABASE_URL", s.ReadDatabaseURL),
		maxConns:       int32(c.number("KEYWARD_DB_MAX_CONNS", cmp.Or(s.DBMaxConns, "0"), 0, 10_000)),
		masterKey:      s.MasterKey,
		addr:           c.address("KEYWARD_ADDR", s.Addr),
		adminAddr:      c.optionalAddress("KEYWARD_ADMIN_ADDR", s.AdminAddr),
		adminClientCA:  s.AdminClientCA,
		consoleOrigins: c.origins("KEYWARD_CONSOLE_ORIGINS", s.ConsoleOrigins),
		publicURL:      c.publicURL("KEYWARD_PUBLIC_URL", s.PublicURL),
		tlsCert:        s.TLSCert,
		tlsKey:         s.TLSKey,
		adminTLSCert:   s.AdminTLSCert,
		adminTLSKey:    s.AdminTLSKey,
		metrics:        s.Metrics,
		logLevel:       c.level("KEYWARD_LOG_LEVEL", s.LogLevel),
		logJSON:        c.oneOf("KEYWARD_LOG_FORMAT", s.LogFormat, "text", "json") == "json",
		jitter:         c.fraction("KEYWARD_ROTATION_JITTER", s.RotationJitter, 0.5),
		maxStale:       c.duration("KEYWARD_MAX_STALE", s.MaxStale, time.Second, 365*24*time.Hour),
		cacheBytes:     uint64(c.number("KEYWARD_CACHE_MB", s.CacheMB, 1, 1<<20)) << 20,
		trustedProxies: c.proxies("KEYWARD_TRUSTED_PROXIES", s.TrustedProxies),
		rateLimits: httpapi.RateLimits{
			Address:    c.rate("KEYWARD_RATE_LIMIT_ADDRESS", s.RateLimitAddress),
			Credential: c.rate("KEYWARD_RATE_LIMIT_CREDENTIAL", s.RateLimitCred),
		},
		webhookAllow:    c.networks("KEYWARD_WEBHOOK_ALLOW", s.WebhookAllow),
		signIn:          c.signIn(s),
		drainDelay:      c.duration("KEYWARD_DRAIN_DELAY", s.DrainDelay, 0, 10*time.Minute),
		shutdownTimeout: c.duration("KEYWARD_SHUTDOWN_TIMEOUT", s.ShutdownTimeout, 0, time.Hour),
	}, c.err
}

// logger writes to w as configured.
func (c config) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.logLevel}
	if c.logJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
