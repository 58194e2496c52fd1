package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// real starts the program in its own process and returns it with its stderr.
func real(t *testing.T, env environ, args ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(built(t), args...)
	cmd.Env = os.Environ()
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout = shown.Place("the output of " + t.Name())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(io.TeeReader(stderr, shown.Place("the log of "+t.Name())))
}

// tenants creates tenants directly in the database.
func tenants(t *testing.T, env environ, slugs ...string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(shown.Place("the log of "+t.Name()), &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := &program{log: log, cfg: config{databaseURL: env["KEYWARD_DATABASE_URL"], masterKey: env["KEYWARD_MASTER_KEY"]}}
	d, err := db.Open(t.Context(), db.Config{URL: p.cfg.databaseURL})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	custody, err := p.openCustody(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	generator := moves.NewGenerator(moves.GeneratorConfig{Ready: 1})
	defer generator.Close()
	store := moves.New(moves.Config{DB: d, Custody: custody, Generator: generator, Now: utcNow, Log: log})
	for _, slug := range slugs {
		spec := tenant.Spec{Slug: slug, Caching: tenant.DefaultCaching}
		if _, err := store.CreateTenant(t.Context(), localOperator(), spec); err != nil {
			t.Fatal(err)
		}
	}
}

// A re-wrap can be interrupted or killed; the remaining work is reported, the
// old master key cannot be removed, and the next run finishes.
func TestRewrapIsPausedAndKilled(t *testing.T) {
	env := deployed(t)
	tenants(t, env, "a", "b", "c", "busy")
	for _, end := range []os.Signal{syscall.SIGINT, syscall.SIGKILL} {
		conn, err := pgx.Connect(t.Context(), env["KEYWARD_DATABASE_URL"])
		if err != nil {
			t.Fatal(err)
		}
		// A locked tenant keeps the re-wrap from ending.
		if _, err := conn.Exec(t.Context(), "BEGIN; SELECT FROM tenants WHERE slug = 'busy' FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
		cmd, stderr := real(t, env, "master", "rotate")
		eventually(t, "3 of 4 data keys to be re-wrapped", func() bool {
			time.Sleep(20 * time.Millisecond)
			return slices.ContainsFunc(masters(t, env), func(m []string) bool { return m[3] == "superseded" && m[4] == "1" })
		})
		if err := cmd.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		said := ""
		for stderr.Scan() {
			said += stderr.Text()
		}
		err = cmd.Wait()
		if told := strings.Contains(said, "run it again"); err == nil || told != (end == syscall.SIGINT) {
			t.Errorf("%v: %v, said %q", end, err, said)
		}
		old := superseded(t, env)
		keyward(t, env, "master", "retire", old).want(t, exitFailed, old, "still wraps 1 data key", "keyward master rotate")
		keyward(t, env, "master", "prune").want(t, exitOK, old, "still wraps 1 data key and stays")
		if err := conn.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		keyward(t, env, "master", "rotate").want(t, exitOK, "An earlier rotation was finished.", "1 data key")
		keyward(t, env, "master", "retire", old).want(t, exitOK, "is retired")
	}
	keyward(t, env, "master", "rotate", "--full-speed").want(t, exitOK, "4 data keys are wrapped")
	keyward(t, env, "master", "retire", "nonsense").want(t, exitFailed, "no such version")
	keyward(t, env, "master", "prune").want(t, exitOK, "Removed")
	keyward(t, env, "doctor").want(t, exitOK, "opens the data keys of this database")
}

// superseded returns the superseded version in master status.
func superseded(t *testing.T, env environ) string {
	t.Helper()
	all := masters(t, env)
	for _, m := range all {
		if m[3] == "superseded" {
			return m[1]
		}
	}
	t.Fatalf("none is superseded: %v", all)
	return ""
}

// masters returns the lines of master status without the header.
func masters(t *testing.T, env environ) (all [][]string) {
	t.Helper()
	for line := range strings.Lines(keyward(t, env, "master", "status").stdout) {
		if f := strings.Fields(line); len(f) > 4 && f[0] != "MASTER" {
			all = append(all, f)
		}
	}
	return all
}

func TestRotateDataKey(t *testing.T) {
	env := deployed(t)
	tenants(t, env, "acme")
	for version := 2; version <= 3; version++ {
		keyward(t, env, "tenant", "rotate-data-key", "--tenant=acme").want(t, exitOK, fmt.Sprintf("2 private keys of acme are sealed under version %d", version))
	}
	keyward(t, env, "tenant", "rotate-data-key", "--tenant=nobody").want(t, exitFailed, "nobody")
	keyward(t, env, "tenant", "rotate-data-key").want(t, exitUsage, "--tenant")
	keyward(t, env, "doctor").want(t, exitOK, "intact")
}

func TestJWKSToAFile(t *testing.T) {
	env := deployed(t)
	tenants(t, env, "acme")
	delete(env, "KEYWARD_MASTER_KEY") // it needs no secret
	shown := keyward(t, env, "tenant", "jwks", "--tenant=acme")
	shown.want(t, exitOK, `"kty":"EC"`)
	path := filepath.Join(t.TempDir(), "jwks.json")
	for range 2 { // it exists the second time
		keyward(t, env, "tenant", "jwks", "--tenant=acme", "--out="+path).want(t, exitOK)
	}
	written, err := os.ReadFile(path)
	if err != nil || string(written) != strings.TrimSpace(shown.stdout) || strings.Contains(shown.stdout, `"d":`) {
		t.Errorf("%s, %v; shown was %s", written, err, shown.stdout)
	}
	keyward(t, env, "tenant", "jwks", "--tenant=nobody").want(t, exitFailed, "nobody")
	keyward(t, env, "tenant", "jwks", "--tenant=acme", "--out="+filepath.Join(path, "x")).want(t, exitFailed)
}

// The command prints the same set by the API, with a credential and without, as from the
// database.
func TestJWKSByTheAPI(t *testing.T) {
	local := deployed(t)
	env := servedOn(t, local)
	set := ok(t, local, "tenant", "jwks", "acme")
	public := environ{"KEYWARD_URL": env["KEYWARD_URL"]}
	for name, way := range map[string]environ{"with a credential": env, "without": public} {
		for _, args := range [][]string{{"acme"}, {"--tenant=acme"}, {"acme", "--json"}} {
			if got := ok(t, way, append([]string{"tenant", "jwks"}, args...)...); got != set || set == "" {
				t.Errorf("%s, %v: %s, want %s", name, args, got, set)
			}
		}
		file := filepath.Join(t.TempDir(), "jwks.json")
		ok(t, way, "tenant", "jwks", "acme", "--out="+file)
		if written, err := os.ReadFile(file); err != nil || string(written) != set {
			t.Errorf("%s: %s, %v", name, written, err)
		}
		keyward(t, way, "tenant", "jwks", "nobody").want(t, exitFailed, "tenant_not_found")
		keyward(t, way, "tenant", "jwks").want(t, exitUsage, "--tenant")
		keyward(t, way, "tenant", "jwks", "acme", "--url=keys.example.com").want(t, exitUsage, "KEYWARD_URL")
	}
}
