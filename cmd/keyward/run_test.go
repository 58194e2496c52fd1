package main

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// environ holds the environment variables of a run.
type environ map[string]string

func (e environ) get(name string) string { return e[name] }

// result is the result of a run of the program.
type result struct {
	code           int
	stdout, stderr string
}

// keyward runs the program in this process.
func keyward(t *testing.T, env environ, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	place := shown.Place("the output of " + t.Name())
	defer place.Close()
	code := runProgram(t.Context(), args, strings.NewReader(""), io.MultiWriter(&stdout, place), io.MultiWriter(&stderr, place), env.get)
	return result{code, stdout.String(), stderr.String()}
}

// want fails the test unless the exit code matches and the output contains all
// texts.
func (r result) want(t *testing.T, code int, said ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	for _, s := range said {
		if !strings.Contains(r.stdout+r.stderr, s) {
			t.Errorf("output lacks %q:\n%s%s", s, r.stdout, r.stderr)
		}
	}
}

// deployed returns the environment of a migrated database and a new master key.
func deployed(t *testing.T) environ {
	t.Helper()
	env := environ{
		"KEYWARD_DATABASE_URL": dbtest.New(t),
		"KEYWARD_MASTER_KEY":   "file:" + filepath.Join(t.TempDir(), "master.json"),
		"KEYWARD_ADDR":         "127.0.0.1:0",
	}
	shown.Database(t, env["KEYWARD_DATABASE_URL"], func() string { return env["KEYWARD_MASTER_KEY"] })
	keyward(t, env, "master", "init").want(t, exitOK, "Created", "backup")
	return env
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		said string
	}{
		"nothing":          {nil, "expected one of"},
		"unknown command":  {[]string{"sevre"}, "serve"},
		"unknown flag":     {[]string{"version", "--colour"}, "--colour"},
		"missing flag":     {[]string{"api-key", "create"}, "--role"},
		"extra argument":   {[]string{"version", "please"}, "please"},
		"no database":      {[]string{"migrate", "up"}, "KEYWARD_DATABASE_URL"},
		"no master key":    {[]string{"master", "init"}, "KEYWARD_MASTER_KEY"},
		"bad duration":     {[]string{"api-key", "create", "--role=x", "--expires-in=soon"}, "--expires-in"},
		"subcommand alone": {[]string{"master"}, "init"},
	} {
		t.Run(name, func(t *testing.T) {
			r := keyward(t, nil, c.args...)
			r.want(t, exitUsage, c.said)
			if r.stdout != "" || !strings.HasPrefix(r.stderr, "keyward: ") {
				t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
			}
		})
	}
}

func TestHelpListsEverySetting(t *testing.T) {
	keyward(t, nil, "--help").want(t, exitOK, "KEYWARD_DATABASE_URL", "KEYWARD_MASTER_KEY", "doctor", "migrate up")
	keyward(t, nil, "help", "config").want(t, exitOK, "KEYWARD_DATABASE_URL", "KEYWARD_MASTER_KEY", "KEYWARD_PUBLIC_URL", "KEYWARD_ADDR", "KEYWARD_TLS_CERT",
		"KEYWARD_ROTATION_JITTER", "KEYWARD_MAX_STALE", "KEYWARD_LOG_FORMAT", "KEYWARD_METRICS")
	keyward(t, nil, "serve", "--help").want(t, exitOK, "KEYWARD_NO_WORKER")
}

func TestBadValues(t *testing.T) {
	const url = "an absolute http or https URL"
	for _, c := range []struct{ variable, value, accepts string }{
		{"KEYWARD_DATABASE_URL", "postgres://keyward:hunter2@host:port/x", "a PostgreSQL URL"},
		{"KEYWARD_LISTEN_DATABASE_URL", "mysql://hunter2@", "a PostgreSQL URL"},
		{"KEYWARD_READ_DATABASE_URL", "mysql://hunter2@", "a PostgreSQL URL"},
		{"KEYWARD_DB_MAX_CONNS", "many", "a whole number from 0 to 10000"},
		{"KEYWARD_DB_MAX_CONNS", "-1", "a whole number from 0 to 10000"},
		{"KEYWARD_PUBLIC_URL", "keys.example.com", url},
		{"KEYWARD_PUBLIC_URL", "http://keys.example.com", "KEYWARD_ALLOW_HTTP=true"},
		{"KEYWARD_PUBLIC_URL", "http://192.0.2.1:8080", "an https URL"},
		{"KEYWARD_PUBLIC_URL", "ftp://keys.example.com", url},
		{"KEYWARD_PUBLIC_URL", "https://keys.example.com/", url},
		{"KEYWARD_PUBLIC_URL", "https://keys.example.com?a=b", url},
		{"KEYWARD_PUBLIC_URL", "https://user:hunter2@keys.example.com", url},
		{"KEYWARD_PUBLIC_URL", "https://schlüssel.example", "xn--schlssel-95a.example"},
		{"KEYWARD_PUBLIC_URL", "https://keys.example/ä", "in ASCII"},
		{"KEYWARD_DEFAULT_ALGORITHM", "HS256", "ML-DSA-65 or ML-DSA-87"},
		{"KEYWARD_DEFAULT_RSA_BITS", "3072", "for an algorithm of RSA"},
		{"KEYWARD_DEFAULT_ROTATION_INTERVAL", "monthly", "a duration of whole seconds"},
		{"KEYWARD_DEFAULT_PUBLISH_LEAD", "1.5s", "a duration of whole seconds"},
		{"KEYWARD_ADDR", "8080", "host:port"},
		{"KEYWARD_ADDR", "127.0.0.1:http", "host:port"},
		{"KEYWARD_ADDR", "127.0.0.1:80800", "host:port"},
		{"KEYWARD_ADMIN_ADDR", "9090", "host:port"},
		{"KEYWARD_ADMIN_CLIENT_CA", "ca.pem", "KEYWARD_ADMIN_ADDR, and KEYWARD_ADMIN_TLS_CERT or KEYWARD_TLS_CERT"},
		{"KEYWARD_ADMIN_TLS_CERT", "cert.pem", "KEYWARD_ADMIN_TLS_KEY"},
		{"KEYWARD_ADMIN_TLS_KEY", "key.pem", "KEYWARD_ADMIN_TLS_CERT"},
		{"KEYWARD_CONSOLE_ORIGINS", "*", "origins in lower case"},
		{"KEYWARD_CONSOLE_URL", "keys.example.com", url},
		{"KEYWARD_CONSOLE_ORIGINS", "https://a.example/", "origins in lower case"},
		{"KEYWARD_TLS_CERT", "cert.pem", "KEYWARD_TLS_KEY"},
		{"KEYWARD_TLS_KEY", "key.pem", "KEYWARD_TLS_CERT"},
		{"KEYWARD_LOG_LEVEL", "loud", "debug, info, warn or error"},
		{"KEYWARD_LOG_FORMAT", "xml", "text or json"},
		{"KEYWARD_ROTATION_JITTER", "0.6", "a number from 0 to 0.5"},
		{"KEYWARD_ROTATION_JITTER", "NaN", "a number from 0 to 0.5"},
		{"KEYWARD_MAX_STALE", "1", "a duration from 1s"},
		{"KEYWARD_MAX_STALE", "-1h", "a duration from 1s"},
		{"KEYWARD_CACHE_MB", "0", "a whole number from 1"},
		{"KEYWARD_TRUSTED_PROXIES", "10.0.0.0/8,proxy", "addresses and networks"},
		{"KEYWARD_TRUSTED_PROXIES", "0.0.0.0/0", "not the whole address space"},
		{"KEYWARD_WEBHOOK_ALLOW", "10.1.2.3/8", "networks with commas between"},
		{"KEYWARD_WEBHOOK_ALLOW", "10.0.0.0/8;localhost", "networks with commas between"},
		{"KEYWARD_RATE_LIMIT_ADDRESS", "100", "a number per s, m or h"},
		{"KEYWARD_RATE_LIMIT_CREDENTIAL", "0/s", "each from 1 to 1000000"},
		{"KEYWARD_TENANT_SHARE", "1.5", "a number from 0 to 1"},
		{"KEYWARD_MAX_STREAMS", "0", "a whole number from 1"},
		{"KEYWARD_MAX_KEY_STREAMS", "many", "a whole number from 1"},
		{"KEYWARD_MAX_EXPORTS", "0", "a whole number from 1"},
		{"KEYWARD_MAX_CONNECTIONS", "9", "a whole number from 10"},
		{"KEYWARD_TENANT_MAX_KEYS", "99", "a whole number from 100"},
		{"KEYWARD_TENANT_MAX_API_KEYS", "0", "a whole number from 1"},
		{"KEYWARD_TENANT_RSA_RATE", "fast", "a number per s, m or h"},
		{"KEYWARD_RSA_PARALLEL", "-1", "a whole number from 0"},
		{"KEYWARD_OIDC_ISSUER", "http://id.example.com", "an https URL"},
		{"KEYWARD_PPROF", "true", "true only with KEYWARD_ADMIN_ADDR"},
		{"KEYWARD_ACCESS_LOG", "2", "a number from 0 to 1"},
		{"KEYWARD_CHECKPOINTS", "/srv/checkpoints", "file:///directory that exists, or s3://bucket/prefix"},
		{"KEYWARD_CHECKPOINTS", "file:///nowhere", "file:///directory that exists, or s3://bucket/prefix"},
		{"KEYWARD_CHECKPOINT_INTERVAL", "1s", "a duration from 1m0s"},
		{"KEYWARD_FALLBACK_DIR", "/nowhere", "a directory that exists"},
		{"KEYWARD_PUBLISH", "/srv/keys", "file:///directory that exists, or s3://bucket/prefix"},
		{"KEYWARD_PUBLISH", "file:///nowhere", "file:///directory that exists, or s3://bucket/prefix"},
		{"KEYWARD_PUBLISH", "s3://user:hunter2@bucket/prefix", "file:///directory that exists, or s3://bucket/prefix"},
		{"KEYWARD_DRAIN_DELAY", "forever", "a duration from 0s"},
		{"KEYWARD_SHUTDOWN_TIMEOUT", "2h", "a duration from 0s to 1h"},
		{"KEYWARD_METRICS", "maybe", "true or false"},
		{"KEYWARD_NO_WORKER", "2", "true or false"},
	} {
		t.Run(c.variable+"="+c.value, func(t *testing.T) {
			r := keyward(t, environ{c.variable: c.value}, "serve")
			r.want(t, exitUsage, c.variable, c.accepts)
			for _, f := range model(t).Flags {
				if f.Tag.Get("var") == c.variable && strings.HasPrefix(f.Tag.Get("accepts"), "a ") && !strings.Contains(f.Tag.Get("accepts"), "file") && !strings.Contains(r.stderr, "must be "+f.Tag.Get("accepts")+"\n") {
					t.Errorf("the help says that it accepts %s: %s", f.Tag.Get("accepts"), r.stderr)
				}
			}
			if strings.Count(r.stderr, "\n") != 1 || strings.Contains(r.stderr, "hunter2") {
				t.Errorf("want one line without secrets, got %q", r.stderr)
			}
		})
	}
}

func TestFlagsComeBeforeTheEnvironment(t *testing.T) {
	env := environ{"KEYWARD_LOG_LEVEL": "loud", "KEYWARD_METRICS": ""}
	keyward(t, env, "migrate", "status", "--log-level=warn").want(t, exitUsage, "KEYWARD_DATABASE_URL")
}

func TestBadMasterKeyURI(t *testing.T) {
	for _, uri := range []string{"master.json", "vault://x/y", "file:"} {
		keyward(t, environ{"KEYWARD_MASTER_KEY": uri}, "master", "init").want(t, exitUsage, "KEYWARD_MASTER_KEY")
	}
}

func TestVersion(t *testing.T) {
	keyward(t, environ{"KEYWARD_LOG_LEVEL": "loud"}, "version").want(t, exitOK, "keyward ", "commit ", runtime.Version())
}

func TestMigrate(t *testing.T) {
	env := environ{"KEYWARD_DATABASE_URL": dbtest.Empty(t)}
	keyward(t, env, "migrate", "status").want(t, exitFailed, "00001_roles.sql", "pending", "keyward migrate up")
	keyward(t, env, "migrate", "up").want(t, exitOK, "up to date")
	keyward(t, env, "migrate", "up").want(t, exitOK, "up to date")
	if r := keyward(t, env, "migrate", "status"); r.code != exitOK || strings.Contains(r.stdout, "pending") {
		t.Errorf("status after up: %+v", r)
	}
}

func TestServeRefuses(t *testing.T) {
	env := deployed(t)
	t.Run("old schema", func(t *testing.T) {
		env := environ{"KEYWARD_DATABASE_URL": dbtest.Empty(t), "KEYWARD_MASTER_KEY": env["KEYWARD_MASTER_KEY"], "KEYWARD_ADDR": "127.0.0.1:0"}
		keyward(t, env, "serve").want(t, exitFailed, "keyward migrate up")
	})
	t.Run("no master key", func(t *testing.T) {
		env := environ{"KEYWARD_DATABASE_URL": env["KEYWARD_DATABASE_URL"], "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "no"), "KEYWARD_ADDR": "127.0.0.1:0"}
		keyward(t, env, "serve").want(t, exitFailed, "keyward master init")
	})
	t.Run("no database", func(t *testing.T) {
		env := environ{"KEYWARD_DATABASE_URL": "postgres://keyward@127.0.0.1:1/x", "KEYWARD_MASTER_KEY": env["KEYWARD_MASTER_KEY"], "KEYWARD_ADDR": "127.0.0.1:0", "KEYWARD_START_WAIT": "0s"}
		keyward(t, env, "serve").want(t, exitFailed, "unavailable", "KEYWARD_DATABASE_URL")
		keyward(t, env, "serve", "--migrate").want(t, exitFailed, "unavailable", "KEYWARD_DATABASE_URL")
		keyward(t, env, "worker").want(t, exitFailed, "unavailable", "KEYWARD_DATABASE_URL")
		env["KEYWARD_START_WAIT"] = "1ns"
		keyward(t, env, "worker").want(t, exitFailed, "waiting; KEYWARD_START_WAIT bounds", "not within KEYWARD_START_WAIT")
	})
	t.Run("a database that waiting does not mend", func(t *testing.T) {
		at, err := url.Parse(dbtest.NewProxy(t, env["KEYWARD_DATABASE_URL"]).DSN()) // TCP, as sockets know no TLS
		if err != nil {
			t.Fatal(err)
		}
		none, noTLS, stranger := *at, *at, *at
		none.Path = "/no_such_database"
		noTLS.RawQuery = "sslmode=require"
		stranger.User = url.User("no_such_login")
		for _, c := range []struct {
			url  url.URL
			says string
		}{{none, "does not exist"}, {noTLS, "refused TLS"}, {stranger, "no_such_login"}} {
			env := environ{"KEYWARD_DATABASE_URL": c.url.String(), "KEYWARD_MASTER_KEY": env["KEYWARD_MASTER_KEY"], "KEYWARD_ADDR": "127.0.0.1:0", "KEYWARD_START_WAIT": "1m"}
			keyward(t, env, "serve").want(t, exitFailed, c.says)
			keyward(t, env, "worker", "--migrate").want(t, exitFailed, c.says)
		}
	})
	t.Run("bad certificate", func(t *testing.T) {
		keyward(t, env, "serve", "--tls-cert=/dev/null", "--tls-key=/dev/null").want(t, exitUsage, "KEYWARD_TLS_CERT")
		keyward(t, env, "serve", "--admin-tls-cert=c", "--admin-tls-key=k").want(t, exitUsage, "KEYWARD_ADMIN_TLS_CERT", "KEYWARD_ADMIN_ADDR")
		keyward(t, env, "serve", "--admin-addr=127.0.0.1:0", "--admin-tls-cert=/dev/null", "--admin-tls-key=/dev/null").
			want(t, exitUsage, "KEYWARD_ADMIN_TLS_CERT and KEYWARD_ADMIN_TLS_KEY must be files in PEM")
	})
}

func TestCreateAPIKey(t *testing.T) {
	env := deployed(t)
	bare := environ{"KEYWARD_DATABASE_URL": env["KEYWARD_DATABASE_URL"]}
	keyward(t, bare, "api-key", "create", "--role=platform_admin").want(t, exitFailed, "KEYWARD_MASTER_KEY")
	r := keyward(t, env, "api-key", "create", "--role=platform_admin", "--name=first", "--expires-in=1h")
	r.want(t, exitOK)
	if who := authenticate(t, env, r.stdout); who.Role != tenant.PlatformAdmin || who.Actor.Name != "first" {
		t.Errorf("the key speaks for %+v", who)
	}
	keyward(t, bare, "api-key", "create", "--role=tenant_signer", "--tenant=platform").want(t, exitFailed, "KEYWARD_MASTER_KEY")
	r = keyward(t, env, "api-key", "create", "--role=tenant_signer", "--tenant=platform")
	r.want(t, exitOK)
	if who := authenticate(t, env, r.stdout); who.Role != tenant.TenantSigner || who.TenantID == nil {
		t.Errorf("the key speaks for %+v", who)
	}
	keyward(t, env, "api-key", "create", "--role=tenant_admin").want(t, exitUsage, "--role must be platform_admin", "--tenant")
	keyward(t, env, "api-key", "create", "--role=king", "--tenant=platform").want(t, exitUsage, "--role must be tenant_admin")
	keyward(t, env, "api-key", "create", "--role=tenant_admin", "--tenant=nobody").want(t, exitFailed, "nobody", "slug or an id")
	keyward(t, env, "api-key", "create", "--role=platform_admin", "--expires-in=-1h").want(t, exitUsage, "--expires-in")
}

func authenticate(t *testing.T, env environ, key string) tenant.Principal {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: env["KEYWARD_DATABASE_URL"]})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c := custody.New(custody.Config{DB: d, URI: env["KEYWARD_MASTER_KEY"], Now: utcNow, Log: slog.New(slog.DiscardHandler)})
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	who, err := tenant.New(tenant.Config{DB: d, Authority: c.Authority()}).Authenticate(t.Context(), strings.TrimSpace(key))
	if err != nil {
		t.Fatal(err)
	}
	return who
}

func TestMasterInitNeverOverwrites(t *testing.T) {
	env := deployed(t)
	file := strings.TrimPrefix(env["KEYWARD_MASTER_KEY"], "file:")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keyward(t, env, "master", "init").want(t, exitOK, "exists already and was not changed")
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed (%v)", err)
	}
	if err := os.WriteFile(file, []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	keyward(t, env, "master", "init").want(t, exitFailed, "backup")
	if after, _ := os.ReadFile(file); string(after) != "not a key" {
		t.Error("a file that was no master key was overwritten")
	}
}

func TestMasterRotation(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK) // creates a tenant with a data key
	keyward(t, env, "master", "status").want(t, exitOK, "current", "yes")
	keyward(t, env, "master", "prune").want(t, exitOK, "Nothing")
	keyward(t, env, "master", "rotate").want(t, exitOK, "1 data key", "prune")
	keyward(t, env, "master", "status").want(t, exitOK, "current", "retired")
	keyward(t, env, "master", "prune").want(t, exitOK, "Removed")
	next := "file:" + filepath.Join(t.TempDir(), "next.json")
	keyward(t, env, "master", "rotate", "--to="+next).want(t, exitOK, "1 data key", "next.json", "KEYWARD_MASTER_KEY")
	env["KEYWARD_MASTER_KEY"] = next
	keyward(t, env, "master", "status").want(t, exitOK, "next.json")
	keyward(t, env, "doctor").want(t, exitOK, "opens the data keys of this database")
}

// A version that was added wraps nothing until rotate, which uses it and adds no
// other; a process with a copy of the file opens what is wrapped then.
func TestMasterAdd(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK) // registers the master key
	path := strings.TrimPrefix(env["KEYWARD_MASTER_KEY"], "file:")
	added := keyward(t, env, "master", "add")
	added.want(t, exitOK, "wraps nothing yet")
	version := strings.Fields(added.stdout)[1]
	if again := keyward(t, env, "master", "add"); !strings.HasPrefix(again.stdout, "Version "+version+" ") {
		t.Errorf("a second add: %s, want %s again", again.stdout, version)
	}
	if list := keyward(t, env, "master", "status").stdout; strings.Contains(list, version) {
		t.Errorf("%s is used already:\n%s", version, list)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := maps.Clone(env)
	other["KEYWARD_MASTER_KEY"] = "file:" + filepath.Join(t.TempDir(), "copy.json")
	if err := os.WriteFile(strings.TrimPrefix(other["KEYWARD_MASTER_KEY"], "file:"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	keyward(t, env, "master", "rotate").want(t, exitOK, "wrapped by version "+version)
	if after, _ := os.ReadFile(path); string(after) != string(text) {
		t.Error("rotate changed the file that had an unused version")
	}
	keyward(t, other, "doctor").want(t, exitOK, "OK    master key")
}

func TestWrongMasterKey(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	env["KEYWARD_MASTER_KEY"] = "file:" + filepath.Join(t.TempDir(), "other.json")
	keyward(t, env, "master", "init").want(t, exitOK)
	keyward(t, env, "serve").want(t, exitFailed, "wrong master key", "KEYWARD_MASTER_KEY")
	keyward(t, env, "master", "status").want(t, exitFailed, "current", "no: ", "wrong master key")
	keyward(t, env, "doctor").want(t, exitFailed, "FAIL  master key")
}

func TestDevWithoutPostgres(t *testing.T) {
	dir := t.TempDir()
	keyward(t, nil, "dev", "--addr=127.0.0.1:0", "--data-dir="+dir, "--pg-bin="+dir).want(t, exitFailed, "keyward: ", "PostgreSQL")
}

func TestNothingOfTheEnvironmentIsLogged(t *testing.T) {
	var out bytes.Buffer
	env := environ{"KEYWARD_DATABASE_URL": "postgres://u:hunter2@127.0.0.1:1/x", "KEYWARD_MASTER_KEY": "file:nothing", "KEYWARD_ADDR": "127.0.0.1:0", "KEYWARD_START_WAIT": "1ns"}
	runProgram(t.Context(), []string{"serve", "--log-level=debug"}, strings.NewReader(""), io.MultiWriter(&out), &out, env.get)
	if !strings.Contains(out.String(), "waiting; KEYWARD_START_WAIT") || strings.Contains(out.String(), "hunter2") {
		t.Errorf("the password is shown: %s", out.String())
	}
}

func TestBadSignIn(t *testing.T) {
	keyward(t, environ{"KEYWARD_OIDC_AUDIENCE": "keyward"}, "serve").want(t, exitUsage, "KEYWARD_OIDC_ISSUER") // incomplete settings
	good := environ{
		"KEYWARD_DATABASE_URL": "postgres://localhost/x", "KEYWARD_OIDC_ISSUER": "https://id.example.com", "KEYWARD_OIDC_AUDIENCE": "keyward",
		"KEYWARD_OIDC_ROLES": "groups=admins:platform_admin",
	}
	for variable, bad := range map[string][]string{
		"KEYWARD_OIDC_AUDIENCE":   {"", "a,,b"},
		"KEYWARD_OIDC_ROLES":      {"", "groups=admins", "groups=admins:root", "groups=admins:tenant_admin"},
		"KEYWARD_OIDC_ALGORITHMS": {"none", "HS256", "RS256,HS256", "RS256,"},

		"KEYWARD_CONSOLE_OIDC_CLIENT_SECRET": {"hunter2"},
		"KEYWARD_CONSOLE_OIDC_SCOPES":        {" "},
		"KEYWARD_CONSOLE_OIDC_NAME":          {strings.Repeat("x", 61)},
	} {
		for _, value := range bad {
			env := maps.Clone(good)
			env[variable] = value
			keyward(t, env, "serve").want(t, exitUsage, variable, "must be")
		}
	}
	keyward(t, environ{"KEYWARD_CONSOLE_OIDC_CLIENT_ID": "console"}, "serve").want(t, exitUsage, "KEYWARD_CONSOLE_OIDC_CLIENT_ID", "KEYWARD_OIDC_ISSUER")
}
