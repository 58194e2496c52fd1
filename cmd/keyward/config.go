package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
)

// settings are the configuration before validation. The tags accepts and unset
// describe for the help the accepted values and the behaviour without a value;
// a test compares accepts with the error for a bad value.
type settings struct {
	DatabaseURL       string `name:"database-url" var:"KEYWARD_DATABASE_URL" secret:"" placeholder:"URL" help:"Connect to this database." accepts:"a PostgreSQL URL, as in postgres://user@host:5432/database" unset:"none; required by the service"`
	ListenDatabaseURL string `name:"listen-database-url" var:"KEYWARD_LISTEN_DATABASE_URL" secret:"" placeholder:"URL" help:"Use this URL for LISTEN and migrations, if KEYWARD_DATABASE_URL leads through a transaction pooler." accepts:"a PostgreSQL URL, as in postgres://user@host:5432/database" unset:"KEYWARD_DATABASE_URL"`
	ReadDatabaseURL   string `name:"read-database-url" var:"KEYWARD_READ_DATABASE_URL" secret:"" placeholder:"URL" help:"Read the JWKS from this streaming standby." accepts:"a PostgreSQL URL, as in postgres://user@host:5432/database" unset:"none"`
	DBMaxConns        string `name:"db-max-conns" var:"KEYWARD_DB_MAX_CONNS" placeholder:"N" help:"Limit the connections to the database." accepts:"a whole number from 0 to 10000" unset:"the larger of 4 and the number of CPUs"`
	MasterKey         string `name:"master-key" var:"KEYWARD_MASTER_KEY" placeholder:"URI" help:"Use this master key." accepts:"a URI, as in file:/etc/keyward/master.json" unset:"none; required by the service"`
	Addr              string `name:"addr" var:"KEYWARD_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Listen on this address." accepts:"host:port, as in 127.0.0.1:8080 or :8080"`
	AdminAddr         string `name:"admin-addr" var:"KEYWARD_ADMIN_ADDR" placeholder:"HOST:PORT" help:"Serve the admin API, its documentation and /metrics on this address only; the worker serves /healthz, /readyz and /metrics there." accepts:"host:port, as in 127.0.0.1:8080 or :8080" unset:"KEYWARD_ADDR serves everything"`
	ConsoleURL        string `name:"console-url" var:"KEYWARD_CONSOLE_URL" placeholder:"URL" help:"Serve the web console to browsers that reach the admin address by this URL, through a proxy." accepts:"an absolute http or https URL in ASCII without query, fragment and final slash, as in https://keys.example.com" unset:"the address that the browser uses"`
	ConsoleOrigins    string `name:"console-origins" var:"KEYWARD_CONSOLE_ORIGINS" placeholder:"ORIGINS" help:"Allow scripts of these origins to call the admin API." accepts:"origins in lower case, separated by commas, without path and default port, as in https://console.example.com" unset:"none"`
	AdminTLSCert      string `name:"admin-tls-cert" var:"KEYWARD_ADMIN_TLS_CERT" placeholder:"FILE" help:"Serve HTTPS on the admin address with this certificate chain." accepts:"a file in PEM" unset:"KEYWARD_TLS_CERT"`
	AdminTLSKey       string `name:"admin-tls-key" var:"KEYWARD_ADMIN_TLS_KEY" placeholder:"FILE" help:"Use this private key for KEYWARD_ADMIN_TLS_CERT." accepts:"a file in PEM" unset:"none"`
	AdminClientCA     string `name:"admin-client-ca" var:"KEYWARD_ADMIN_CLIENT_CA" placeholder:"FILE" help:"Require client certificates issued by one of these authorities on the admin address." accepts:"a file with certificates in PEM" unset:"none required"`
	PublicURL         string `name:"public-url" var:"KEYWARD_PUBLIC_URL" placeholder:"URL" help:"Publish this URL to verifiers; issuers begin with it." accepts:"an absolute http or https URL in ASCII without query, fragment and final slash, as in https://keys.example.com" unset:"http://<addr>"`
	AllowHTTP         bool   `name:"allow-http" var:"KEYWARD_ALLOW_HTTP" help:"Allow a KEYWARD_PUBLIC_URL, and issuers of tenants, that are plain http for other machines too." accepts:"true or false" unset:"false"`
	TLSCert           string `name:"tls-cert" var:"KEYWARD_TLS_CERT" placeholder:"FILE" help:"Serve HTTPS with this certificate chain." accepts:"a file in PEM" unset:"none: plain HTTP"`
	TLSKey            string `name:"tls-key" var:"KEYWARD_TLS_KEY" placeholder:"FILE" help:"Use this private key for KEYWARD_TLS_CERT." accepts:"a file in PEM" unset:"none"`
	Metrics           bool   `name:"metrics" var:"KEYWARD_METRICS" default:"true" negatable:"" help:"Serve /metrics on the admin address or, without one, to clients on this machine." accepts:"true or false"`
	PProf             bool   `name:"pprof" var:"KEYWARD_PPROF" help:"Serve Go's profiles below /debug/pprof/ of the admin address to clients on this machine." accepts:"true or false" unset:"false"`
	AccessLog         string `name:"access-log" var:"KEYWARD_ACCESS_LOG" default:"0" placeholder:"FRACTION" help:"Log this fraction of the requests at level info, and with any, every answer of 500 and above." accepts:"a number from 0 to 1"`
	LogLevel          string `name:"log-level" var:"KEYWARD_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"Log messages of this level and above." accepts:"debug, info, warn or error"`
	LogFormat         string `name:"log-format" var:"KEYWARD_LOG_FORMAT" default:"text" placeholder:"FORMAT" help:"Write the log in this format." accepts:"text or json"`
	Adoption          string `name:"adoption" var:"KEYWARD_ADOPTION" default:"on" placeholder:"on|off" help:"Keep pseudonyms of the verifiers that fetch each JWKS, to know which have a new key." accepts:"on or off"`
	RotationJitter    string `name:"rotation-jitter" var:"KEYWARD_ROTATION_JITTER" default:"0.05" placeholder:"FRACTION" help:"Delay scheduled rotations by up to this fraction of their interval, so that tenants do not rotate together." accepts:"a number from 0 to 0.5"`
	DefaultAlgorithm  string `name:"default-algorithm" var:"KEYWARD_DEFAULT_ALGORITHM" default:"ES256" placeholder:"ALG" help:"Set the algorithm of tenants created without a policy." accepts:"ES256, ES384, ES512, EdDSA, Ed25519, RS256, RS384, RS512, PS256, PS384, PS512, ML-DSA-44, ML-DSA-65 or ML-DSA-87"`
	DefaultRSABits    string `name:"default-rsa-bits" var:"KEYWARD_DEFAULT_RSA_BITS" placeholder:"BITS" help:"Set the size of their RSA keys." accepts:"2048, 3072 or 4096, for an algorithm of RSA" unset:"2048"`
	DefaultRotation   string `name:"default-rotation-interval" var:"KEYWARD_DEFAULT_ROTATION_INTERVAL" default:"30d" placeholder:"DURATION" help:"Set how often their keys rotate; 0s: by hand only." accepts:"a duration of whole seconds, as in 90s, 12h or 30d"`
	DefaultLead       string `name:"default-publish-lead" var:"KEYWARD_DEFAULT_PUBLISH_LEAD" placeholder:"DURATION" help:"Set how long their standby keys are published before they sign." accepts:"a duration of whole seconds, as in 90s, 12h or 30d" unset:"24h, or the rotation interval if that is shorter"`
	DefaultGrace      string `name:"default-grace-period" var:"KEYWARD_DEFAULT_GRACE_PERIOD" default:"7d" placeholder:"DURATION" help:"Set how long their deprecated keys stay published; tokens live at most 24h, and no longer than this allows." accepts:"a duration of whole seconds, as in 90s, 12h or 30d"`
	DefaultTokenTTL   string `name:"default-token-ttl" var:"KEYWARD_DEFAULT_TOKEN_TTL" default:"15m" placeholder:"DURATION" help:"Set how long their tokens live if a request does not say." accepts:"a duration of whole seconds, as in 90s, 12h or 30d"`
	MaxStale          string `name:"max-stale" var:"KEYWARD_MAX_STALE" default:"24h" placeholder:"DURATION" help:"Serve a JWKS from memory this long while the database is unavailable." accepts:"a duration from 1s to 8760h0m0s, as in 90s, 30m or 24h"`
	CacheMB           string `name:"cache-mb" var:"KEYWARD_CACHE_MB" default:"256" placeholder:"MB" help:"Cache JWKS in this many megabytes of memory." accepts:"a whole number from 1 to 1048576"`
	TrustedProxies    string `name:"trusted-proxies" var:"KEYWARD_TRUSTED_PROXIES" placeholder:"CIDRS" help:"Trust the client addresses that these proxies report." accepts:"addresses and networks with commas between, as in 10.0.0.0/8,2001:db8::1, and not the whole address space" unset:"none"`
	RateLimitAddress  string `name:"rate-limit-address" var:"KEYWARD_RATE_LIMIT_ADDRESS" placeholder:"RATE" help:"Limit the requests from one client address." accepts:"a number per s, m or h, as in 100/s or 6000/m, and how many at once, as in 100/s:200; each from 1 to 1000000" unset:"no limit"`
	RateLimitCred     string `name:"rate-limit-credential" var:"KEYWARD_RATE_LIMIT_CREDENTIAL" placeholder:"RATE" help:"Limit the requests with one credential." accepts:"a number per s, m or h, as in 100/s or 6000/m, and how many at once, as in 100/s:200; each from 1 to 1000000" unset:"no limit"`
	MaxConnections    string `name:"max-connections" var:"KEYWARD_MAX_CONNECTIONS" placeholder:"N" help:"Limit the connections to each address; beyond it, those without a request are closed for new ones." accepts:"a whole number from 10 to 1000000" unset:"10000, or a quarter of the file descriptors of the process if that is less"`
	TenantShare       string `name:"tenant-share" var:"KEYWARD_TENANT_SHARE" default:"0.1" placeholder:"FRACTION" help:"Limit one tenant to this share of the streams and exports." accepts:"a number from 0 to 1"`
	MaxStreams        string `name:"max-streams" var:"KEYWARD_MAX_STREAMS" default:"1000" placeholder:"N" help:"Limit the event streams that are open at once." accepts:"a whole number from 1 to 1000000"`
	MaxKeyStreams     string `name:"max-key-streams" var:"KEYWARD_MAX_KEY_STREAMS" default:"10000" placeholder:"N" help:"Limit the key event streams that are open at once." accepts:"a whole number from 1 to 1000000"`
	MaxExports        string `name:"max-exports" var:"KEYWARD_MAX_EXPORTS" default:"40" placeholder:"N" help:"Limit the audit exports that run at once." accepts:"a whole number from 1 to 10000"`
	TenantMaxKeys     string `name:"tenant-max-keys" var:"KEYWARD_TENANT_MAX_KEYS" default:"10000" placeholder:"N" help:"Limit the keys of a tenant that are not purged." accepts:"a whole number from 100 to 1000000"`
	TenantMaxAPIKeys  string `name:"tenant-max-api-keys" var:"KEYWARD_TENANT_MAX_API_KEYS" default:"10000" placeholder:"N" help:"Limit the live API keys of a tenant, and those of the platform." accepts:"a whole number from 1 to 1000000"`
	TenantRSARate     string `name:"tenant-rsa-rate" var:"KEYWARD_TENANT_RSA_RATE" default:"20/m:60" placeholder:"RATE" help:"Limit the RSA keys that are generated for one tenant; revocations are never refused." accepts:"a number per s, m or h, as in 100/s or 6000/m, and how many at once, as in 100/s:200; each from 1 to 1000000"`
	RSAParallel       string `name:"rsa-parallel" var:"KEYWARD_RSA_PARALLEL" placeholder:"N" help:"Make this many RSA keys at a time, half of them for one tenant." accepts:"a whole number from 0 to 1000" unset:"the number of CPUs, and at least 2"`
	Checkpoints       string `name:"checkpoints" var:"KEYWARD_CHECKPOINTS" placeholder:"URI" help:"Write checkpoints of all tenants' histories into this directory or S3-compatible bucket, which the worker does." accepts:"file:///directory that exists, or s3://bucket/prefix" unset:"none are written"`
	CheckpointEvery   string `name:"checkpoint-interval" var:"KEYWARD_CHECKPOINT_INTERVAL" default:"1h" placeholder:"DURATION" help:"Write a checkpoint each time this long." accepts:"a duration from 1m0s to 168h0m0s, as in 90s, 30m or 24h"`
	Publish           string `name:"publish" var:"KEYWARD_PUBLISH" placeholder:"URI" help:"Write the public documents of all tenants into this directory or S3-compatible bucket, which the worker does." accepts:"file:///directory that exists, or s3://bucket/prefix" unset:"none are written"`
	FallbackDir       string `name:"fallback-dir" var:"KEYWARD_FALLBACK_DIR" placeholder:"DIR" help:"Serve the documents of this directory, which KEYWARD_PUBLISH has written, while keyward serve waits for the database at its start." accepts:"a directory that exists" unset:"verifiers wait as well"`
	WebhookAllow      string `name:"webhook-allow" var:"KEYWARD_WEBHOOK_ALLOW" placeholder:"CIDRS" help:"Allow webhooks, and fetches of the keys of workloads' issuers, to reach these private networks, also by http." accepts:"networks with commas between, as in 10.1.0.0/16,fd00::/8" unset:"none"`
	DNSResolver       string `name:"dns-resolver" var:"KEYWARD_DNS_RESOLVER" placeholder:"HOST:PORT" help:"Use this name server to look up the TXT records of tenants' domains." accepts:"host:port, as in 127.0.0.1:8080 or :8080" unset:"those of the system"`
	OIDCIssuer        string `name:"oidc-issuer" var:"KEYWARD_OIDC_ISSUER" placeholder:"URL" help:"Accept access tokens of this identity provider on the admin API." accepts:"the issuer of an identity provider: an https URL without query and fragment (http on this machine), as in https://id.example.com" unset:"none"`
	OIDCAudience      string `name:"oidc-audience" var:"KEYWARD_OIDC_AUDIENCE" placeholder:"NAMES" help:"Require one of these names in the aud of those tokens." accepts:"names with commas between, as in https://keys.example.com" unset:"none; required with KEYWARD_OIDC_ISSUER"`
	OIDCAlgorithms    string `name:"oidc-algorithms" var:"KEYWARD_OIDC_ALGORITHMS" placeholder:"ALGS" help:"Accept those tokens only with these algorithms." accepts:"RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, ML-DSA-44, ML-DSA-65 or ML-DSA-87, with commas between" unset:"RS256,PS256,ES256,ES384,EdDSA,Ed25519"`
	OIDCRoles         string `name:"oidc-roles" var:"KEYWARD_OIDC_ROLES" placeholder:"RULES" help:"Map claims of those tokens to roles; the first matching rule decides." accepts:"rules claim=value:role with commas between, a tenant's role with its tenant, as in groups=admins:platform_admin,groups=acme-ops:tenant_admin@acme" unset:"none; required with KEYWARD_OIDC_ISSUER"`
	ConsoleClientID   string `name:"console-oidc-client-id" var:"KEYWARD_CONSOLE_OIDC_CLIENT_ID" placeholder:"ID" help:"Sign people in to the web console as this client of KEYWARD_OIDC_ISSUER." accepts:"a client id, with KEYWARD_OIDC_ISSUER" unset:"API keys only"`
	ConsoleSecret     string `name:"console-oidc-client-secret" var:"KEYWARD_CONSOLE_OIDC_CLIENT_SECRET" secret:"" placeholder:"SECRET" help:"Authenticate that client with this secret." accepts:"a secret, with KEYWARD_CONSOLE_OIDC_CLIENT_ID" unset:"a public client"`
	ConsoleScopes     string `name:"console-oidc-scopes" var:"KEYWARD_CONSOLE_OIDC_SCOPES" placeholder:"SCOPES" help:"Send these scopes, so that the tokens have the claims of KEYWARD_OIDC_ROLES." accepts:"scopes with spaces between, as in openid profile groups" unset:"openid profile email"`
	ConsoleProvider   string `name:"console-oidc-name" var:"KEYWARD_CONSOLE_OIDC_NAME" placeholder:"NAME" help:"Name the identity provider so on the sign-in page." accepts:"a name of at most 60 characters" unset:"the host of KEYWARD_OIDC_ISSUER"`
	StartWait         string `name:"start-wait" var:"KEYWARD_START_WAIT" placeholder:"DURATION" help:"Wait this long for the database and the KMS when the service starts; 0s: end at once if one is unavailable." accepts:"a duration from 0s to 8760h0m0s, as in 90s, 30m or 24h" unset:"without limit"`
	DrainDelay        string `name:"drain-delay" var:"KEYWARD_DRAIN_DELAY" placeholder:"DURATION" help:"Keep serving this long after a signal, with /readyz at 503, so that load balancers notice." accepts:"a duration from 0s to 10m0s, as in 90s, 30m or 24h" unset:"5s after SIGTERM, 0s after Ctrl-C"`
	ShutdownTimeout   string `name:"shutdown-timeout" var:"KEYWARD_SHUTDOWN_TIMEOUT" default:"30s" placeholder:"DURATION" help:"Wait this long for requests in flight after that." accepts:"a duration from 0s to 1h0m0s, as in 90s, 30m or 24h"`
}

// config is the validated configuration.
type config struct {
	databaseURL     string // empty: not set
	listenURL       string
	readURL         string // empty: no standby
	maxConns        int32  // 0: pgx's default
	masterKey       string // empty: not set
	addr            string
	adminAddr       string   // empty: addr serves everything
	adminClientCA   string   // empty: no client certificates
	consoleURL      string   // empty: the address that the browser uses
	consoleOrigins  []string // serialized as browsers do
	publicURL       string   // empty: derived from the address
	allowHTTP       bool     // plain http for other machines too
	tlsCert, tlsKey string   // both or neither
	adminTLSCert    string   // empty: those of the main address
	adminTLSKey     string
	metrics         bool
	pprof           bool
	accessLog       float64 // fraction of the requests
	logLevel        slog.Level
	logJSON         bool
	adoption        bool
	jitter          float64
	defaultPolicy   tenant.Policy // of tenants created without one
	maxStale        time.Duration
	cacheBytes      uint64
	trustedProxies  []netip.Prefix
	rateLimits      httpapi.RateLimits
	streams         httpapi.Streams
	tenantMaxKeys   int
	maxConnections  int // to an address; 0: by the file descriptors
	maxAPIKeys      int // of a tenant, or of the platform
	generator       moves.GeneratorConfig
	webhookAllow    []netip.Prefix
	publish         publish.Store // nil: not set
	fallbackDir     string        // empty: none

	expiredTokens bool // keyward dev

	checkpoints        publish.Archive // nil: not set
	checkpointInterval time.Duration

	dnsResolver     string                // empty: the system's
	signIn          signin.Config         // Issuer empty: disabled
	codeFlow        signin.CodeFlowConfig // ClientID empty: API keys only
	startWait       time.Duration         // for the database and the KMS; negative: without limit
	drainDelay      time.Duration         // negative: the default, which depends on the signal
	shutdownTimeout time.Duration
}

// parse validates every setting. It returns a *usageError that names the first
// invalid one and its accepted values.
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
		consoleURL:     c.publicURL("KEYWARD_CONSOLE_URL", s.ConsoleURL),
		consoleOrigins: c.origins("KEYWARD_CONSOLE_ORIGINS", s.ConsoleOrigins),
		publicURL:      c.verifierURL(s),
		allowHTTP:      s.AllowHTTP,
		tlsCert:        s.TLSCert,
		tlsKey:         s.TLSKey,
		adminTLSCert:   s.AdminTLSCert,
		adminTLSKey:    s.AdminTLSKey,
		metrics:        s.Metrics,
		pprof:          c.profiles(s),
		accessLog:      c.fraction("KEYWARD_ACCESS_LOG", s.AccessLog, 1),
		logLevel:       c.level("KEYWARD_LOG_LEVEL", s.LogLevel),
		logJSON:        c.oneOf("KEYWARD_LOG_FORMAT", s.LogFormat, "text", "json") == "json",
		adoption:       c.oneOf("KEYWARD_ADOPTION", s.Adoption, "on", "off") == "on",
		jitter:         c.fraction("KEYWARD_ROTATION_JITTER", s.RotationJitter, 0.5),
		defaultPolicy:  c.defaultPolicy(s),
		maxStale:       c.duration("KEYWARD_MAX_STALE", s.MaxStale, time.Second, 365*24*time.Hour),
		cacheBytes:     uint64(c.number("KEYWARD_CACHE_MB", s.CacheMB, 1, 1<<20)) << 20,
		trustedProxies: c.proxies("KEYWARD_TRUSTED_PROXIES", s.TrustedProxies),
		rateLimits: httpapi.RateLimits{
			Address:    c.rate("KEYWARD_RATE_LIMIT_ADDRESS", s.RateLimitAddress),
			Credential: c.rate("KEYWARD_RATE_LIMIT_CREDENTIAL", s.RateLimitCred),
		},
		maxConnections: c.maxConnections(s),
		streams: httpapi.Streams{
			Most:     c.number("KEYWARD_MAX_STREAMS", s.MaxStreams, 1, 1_000_000),
			MostKeys: c.number("KEYWARD_MAX_KEY_STREAMS", s.MaxKeyStreams, 1, 1_000_000),
			Exports:  c.number("KEYWARD_MAX_EXPORTS", s.MaxExports, 1, 10_000),
			Share:    c.fraction("KEYWARD_TENANT_SHARE", s.TenantShare, 1),
		},
		tenantMaxKeys: c.number("KEYWARD_TENANT_MAX_KEYS", s.TenantMaxKeys, 100, 1_000_000),
		maxAPIKeys:    c.number("KEYWARD_TENANT_MAX_API_KEYS", s.TenantMaxAPIKeys, 1, 1_000_000),
		generator:     c.generator(s),

		checkpoints:        openStore(&c, "KEYWARD_CHECKPOINTS", s.Checkpoints, publish.OpenArchive),
		checkpointInterval: c.duration("KEYWARD_CHECKPOINT_INTERVAL", s.CheckpointEvery, time.Minute, 7*24*time.Hour),

		fallbackDir:     c.directory("KEYWARD_FALLBACK_DIR", s.FallbackDir),
		publish:         openStore(&c, "KEYWARD_PUBLISH", s.Publish, publish.Open),
		webhookAllow:    c.networks("KEYWARD_WEBHOOK_ALLOW", s.WebhookAllow),
		dnsResolver:     c.optionalAddress("KEYWARD_DNS_RESOLVER", s.DNSResolver),
		signIn:          c.signIn(s),
		codeFlow:        c.codeFlow(s),
		startWait:       c.optionalDuration("KEYWARD_START_WAIT", s.StartWait, 365*24*time.Hour),
		drainDelay:      c.optionalDuration("KEYWARD_DRAIN_DELAY", s.DrainDelay, 10*time.Minute),
		shutdownTimeout: c.duration("KEYWARD_SHUTDOWN_TIMEOUT", s.ShutdownTimeout, 0, time.Hour),
	}, c.err
}

// newLogger returns a logger that writes to w as configured.
func (c config) newLogger(w io.Writer) *slog.Logger {
	return slog.New(c.logHandler(w))
}

func (c config) logHandler(w io.Writer) slog.Handler {
	opts := &slog.HandlerOptions{Level: c.logLevel}
	if c.logJSON {
		return slog.NewJSONHandler(w, opts)
	}
	return slog.NewTextHandler(w, opts)
}
