package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db/dbtest"
)

// A dump restored without owners and privileges, as on a server that lacks the
// roles, is made whole by recover.
func TestRecoverAfterARestore(t *testing.T) {
	env := deployed(t)
	env["KEYWARD_PUBLIC_URL"] = "https://keys.example.com"
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	file, restored := filepath.Join(t.TempDir(), "keyward.dump"), dbtest.Empty(t)
	for _, c := range [][]string{
		{"pg_dump", "--format=custom", "--file=" + file, env["KEYWARD_DATABASE_URL"]},
		{"pg_restore", "--no-owner", "--no-privileges", "--dbname=" + restored, file},
	} {
		if out, err := exec.CommandContext(t.Context(), postgresProgram(t, c[0]), c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c[0], err, out)
		}
	}
	env["KEYWARD_DATABASE_URL"] = restored
	keyward(t, env, "doctor").want(t, exitFailed, "FAIL  guards", "fix:  keyward recover")
	keyward(t, env, "recover").want(t, exitOK, "ALTER TABLE public.keys OWNER TO keyward_owner;", "were restored")
	keyward(t, env, "doctor", "--all").want(t, exitOK, "OK    guards", "OK    writing", "OK    audit")
	keyward(t, env, "recover").want(t, exitOK, "restored: 0")
}

// backups are ways to bring a database back to an earlier time. Each takes a server and
// returns a function that ends it and returns the URL of the database as it was then.
var backups = map[string]func(t *testing.T, server *dbtest.Server) func() string{
	"dump": func(t *testing.T, server *dbtest.Server) func() string {
		file := filepath.Join(t.TempDir(), "keyward.dump")
		dbtest.Exec(t, server.DSN(), "DO $$ BEGIN FOR i IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
		dbtest.Exec(t, server.DSN(), "UPDATE tenants SET feed_xid = pg_current_xact_id() WHERE slug = 'acme'")
		runPostgres(t, "pg_dump", "--format=custom", "--file="+file, server.DSN())
		return func() string {
			other := dbtest.NewServer(t) // whose transaction counter is behind
			dbtest.Exec(t, other.DSN(), "CREATE DATABASE restored")
			at, _ := url.Parse(other.DSN())
			at.Path = "/restored"
			runPostgres(t, "pg_restore", "--no-owner", "--no-privileges", "--dbname="+at.String(), file)
			return at.String()
		}
	},
	"point in time": func(t *testing.T, server *dbtest.Server) func() string {
		base := server.Replica() // a base backup that replays the WAL up to here
		now := queryText(t, server.DSN(), "SELECT pg_current_wal_lsn()::text")
		eventually(t, "the WAL replayed", func() bool {
			return queryText(t, base.DSN(), "SELECT (pg_last_wal_replay_lsn() >= '"+now+"')::text") == "true"
		})
		base.Stop()
		return func() string {
			server.Kill()
			base.Start()
			base.Promote()
			return base.DSN()
		}
	},
}

func runPostgres(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), postgresProgram(t, program), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func queryText(t *testing.T, dsn, sql string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// tenantKIDs returns the kids that a tenant publishes.
func tenantKIDs(t *testing.T, r *recorder, tenant string) (kids []string) {
	t.Helper()
	var set struct{ Keys []struct{ KID string } }
	if err := json.Unmarshal(r.ask(t, "GET", "/t/"+tenant+"/.well-known/jwks.json", "", false), &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		kids = append(kids, k.KID)
	}
	return kids
}

// documented returns the arguments of a command that docs/recovery.md has, with the
// files of a test.
func documented(t *testing.T, command, checkpoint, set string) []string {
	t.Helper()
	if !regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(command) + `( +#.*)?$`).MatchString(read(t, "../../docs/recovery.md")) {
		t.Errorf("docs/recovery.md does not have %q", command)
	}
	command = strings.NewReplacer("all.checkpoint", checkpoint, "platform-jwks.json", set).Replace(command)
	return strings.Fields(command)[1:]
}

const servingAt = `msg=serving url=\S+ addr=(\S+)`

// serveAgain starts a server on a restored database, and returns how to ask it.
func serveAgain(t *testing.T, env environ, key string) *recorder {
	t.Helper()
	return &recorder{url: "http://" + launch(t, env, "serve", "--log-format=text").until(t, servingAt)[1], key: key}
}

// What was revoked between a backup and the loss of the database is alive again after
// the restore, and doctor cannot know. recover finds the tenants by a checkpoint, revokes
// what they had, and leaves the others alone; readers of feeds are told.
func TestRecoverRevokesWhatCameBackToLife(t *testing.T) {
	for name, backUp := range backups {
		t.Run(name, func(t *testing.T) { t.Parallel(); testRecovery(t, backUp) })
	}
}

func testRecovery(t *testing.T, backUp func(*testing.T, *dbtest.Server) func() string) {
	server := dbtest.NewServer(t)
	env := environ{
		"KEYWARD_DATABASE_URL": server.DSN(), "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "master.json"),
		"KEYWARD_ADDR": "127.0.0.1:0", "KEYWARD_PUBLIC_URL": "https://keys.example.com",
	}
	keyward(t, env, "master", "init").want(t, exitOK)
	key := strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin").stdout)
	running := launch(t, env, "serve", "--log-format=text")
	rec := &recorder{url: "http://" + running.until(t, servingAt)[1], key: key}
	for _, slug := range []string{"acme", "calm"} {
		rec.ask(t, "POST", "/v1/tenants", `{"slug":"`+slug+`","policies":[{"alg":"ES256","default":true}]}`, true)
	}
	var stolen client.CreatedAPIKey
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer","name":"stolen"}`, true), &stolen)
	token, leaked := rec.sign(t)
	calm := tenantKIDs(t, rec, "calm")
	remote := environ{"KEYWARD_URL": rec.url, "KEYWARD_API_KEY": key}
	restore := backUp(t, server)

	ok(t, remote, "key", "revoke", "--tenant=acme", "--reason=compromised", "--yes", "--", leaked)
	ok(t, remote, "api-key", "revoke", "--tenant=acme", "--yes", stolen.ID.String())
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"late"}`, true)
	dir := t.TempDir()
	checkpoint, set := filepath.Join(dir, "all.checkpoint"), fileOf(t, string(rec.ask(t, "GET", "/.well-known/jwks.json", "", false)))
	ok(t, remote, documented(t, "keyward audit checkpoint --all --out all.checkpoint", checkpoint, set)...)
	var feed client.JWKSFeed
	unmarshal(t, rec.ask(t, "GET", "/v1/jwks-feed", "", true), &feed)
	running.stop()

	env["KEYWARD_DATABASE_URL"] = restore()
	if said := keyward(t, env, "recover", "--revoke"); said.code != exitUsage {
		t.Errorf("--revoke without a checkpoint: %+v", said)
	}
	first := keyward(t, env, documented(t, "keyward recover --checkpoint all.checkpoint --jwks platform-jwks.json", checkpoint, set)...)
	if skipped := strings.Contains(first.stdout, "transactions were skipped"); skipped != strings.Contains(t.Name(), "dump") {
		t.Errorf("transactions were skipped: %t", skipped)
	}
	first.want(t, exitFailed,
		"behind     acme", "lost       late", "1 differs from the checkpoint", "1 is lost", "repeat with --revoke")
	back := serveAgain(t, env, key)
	if !slices.Contains(tenantKIDs(t, back, "acme"), leaked) {
		t.Fatal("the revoked key did not come back; there is nothing to test")
	}
	keyward(t, env, documented(t, "keyward recover --checkpoint all.checkpoint --jwks platform-jwks.json --revoke", checkpoint, set)...).want(t, exitOK, "recovered  acme", "revoked 2 keys, 1 API key,")

	after := serveAgain(t, env, key)
	if kids := tenantKIDs(t, after, "acme"); slices.Contains(kids, leaked) || len(kids) != 2 {
		t.Errorf("acme publishes %v, which should be two new keys", kids)
	}
	if kids := tenantKIDs(t, after, "calm"); !slices.Equal(kids, calm) {
		t.Errorf("calm published %v, now %v", calm, kids)
	}
	var verified struct{ Valid bool }
	unmarshal(t, after.ask(t, "POST", "/v1/tenants/acme/tokens/verify", `{"token":"`+token+`"}`, true), &verified)
	if verified.Valid {
		t.Error("a token of the leaked key is valid")
	}
	for what, status := range map[string]int{
		"GET /v1/tenants/acme Bearer " + stolen.Key:                     http.StatusUnauthorized,
		"GET /v1/jwks-feed?since=" + feed.NextCursor + " Bearer " + key: http.StatusBadRequest,
		"GET /t/acme/.well-known/jwks.json Bearer ":                     http.StatusOK,
	} {
		words := strings.SplitN(what, " ", 3)
		req, _ := http.NewRequestWithContext(t.Context(), words[0], after.url+words[1], nil)
		req.Header.Set("Authorization", words[2])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s %s: %d", words[0], words[1], resp.StatusCode)
		}
		if words[1] == "/t/acme/.well-known/jwks.json" && resp.Header.Get("Keyward-Not-Before") == "" {
			t.Error("verifiers are not told to refuse older tokens")
		}
	}
	feed = client.JWKSFeed{} // from the beginning it has everything: the order of transactions goes on
	unmarshal(t, after.ask(t, "GET", "/v1/jwks-feed", "", true), &feed)
	if len(feed.Items) != 3 {
		t.Errorf("the feed has %d tenants", len(feed.Items))
	}
	keyward(t, env, "recover", "--checkpoint="+checkpoint, "--revoke").want(t, exitOK, "0 differ from the checkpoint, 1 was recovered before")
	keyward(t, env, documented(t, "keyward doctor --all", checkpoint, set)...).want(t, exitOK, "OK    audit", "OK    guards", "OK    transactions")
}

// The commands of docs/recovery.md work, in their order: those that prepare, before and
// after which a key is revoked, and those of the day on which the database is lost.
func TestRecoveryAsDocumented(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here to paste the commands for")
	}
	local := deployed(t)
	local["KEYWARD_PUBLIC_URL"] = "https://keys.example.com"
	dump, restored := postgresProgram(t, "pg_dump"), dbtest.Empty(t)
	env := maps.Clone(local)
	key := apiKey(t, local)
	server := launch(t, local, "serve", "--log-format=text")
	rec := &recorder{url: "http://" + server.until(t, servingAt)[1], key: key}
	env["KEYWARD_URL"], env["KEYWARD_API_KEY"] = rec.url, key
	env["PATH"] = strings.Join([]string{filepath.Dir(built(t)), filepath.Dir(dump), os.Getenv("PATH")}, string(os.PathListSeparator))
	run := commandRunner(t, env)
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme"}`, true)
	if out, err := run("pg_dump --format=custom --file=keyward.dump '" + env["KEYWARD_DATABASE_URL"] + "'"); err != nil {
		t.Fatal(out)
	}
	leaked := tenantKIDs(t, rec, "acme")[0]
	rec.ask(t, "POST", "/v1/tenants/acme/keys/"+leaked+"/revoke", `{"reason":"compromised"}`, true)
	page := strings.ReplaceAll(read(t, "../../docs/recovery.md"), "postgres://keyward_migrator@db/keyward?sslmode=verify-full", restored)
	ran := runDocumentedBy(t, run, page, "prepare")
	server.stop()
	env["KEYWARD_DATABASE_URL"], local["KEYWARD_DATABASE_URL"] = restored, restored
	if ran += runDocumentedBy(t, run, page, "recover"); ran < 8 {
		t.Errorf("only %d commands were found", ran)
	}
	if kids := tenantKIDs(t, serveAgain(t, local, key), "acme"); slices.Contains(kids, leaked) || len(kids) != 2 {
		t.Errorf("acme publishes %v, and %s was revoked", kids, leaked)
	}
}

// The worker writes checkpoints into a directory when it begins, with the keys to verify
// them, and keeps a bounded number.
func TestCheckpointsOnASchedule(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	dir := t.TempDir()
	env["KEYWARD_CHECKPOINTS"] = "file://" + filepath.Join(dir, "none")
	keyward(t, env, "serve").want(t, exitUsage, "KEYWARD_CHECKPOINTS", "directory that exists")
	env["KEYWARD_CHECKPOINTS"] = "file://" + dir
	for i := range keptCheckpoints + 20 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("keyward-20200101T%06dZ.checkpoint", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	launch(t, env, "worker", "--log-format=text").until(t, "leadership acquired")
	var files []string
	eventually(t, "a checkpoint, and no more than are kept", func() bool {
		files, _ = filepath.Glob(filepath.Join(dir, "keyward-2*.checkpoint"))
		return len(files) == keptCheckpoints && !strings.Contains(files[keptCheckpoints-1], "-2020")
	})
	newest := files[keptCheckpoints-1]
	set := strings.TrimSuffix(newest, checkpointSuffix) + checkpointKeys
	kept, err := openCheckpoint(localFile{path: newest}, []byte(read(t, set)))
	if err != nil || !kept.leaves || kept.all.Tenants != 1 {
		t.Errorf("%+v: %v", kept, err)
	}
	keyward(t, env, "recover", "--checkpoint="+newest).want(t, exitOK, "1 tenant compared: 0 differ")
	keyward(t, env, "recover", "--checkpoint=file://"+newest, "--jwks=file://"+set).want(t, exitOK, "1 tenant compared: 0 differ")
	remote := maps.Clone(env)
	maps.Copy(remote, servedOn(t, env))
	keyward(t, remote, "audit", "verify", "--checkpoint=file://"+newest, "--jwks=file://"+set).want(t, exitOK, "includes the checkpoint by ")
	keyward(t, env, "doctor").want(t, exitOK, "OK    checkpoints     file://"+dir+" takes new documents")
}

// fakeBucket is a server with the part of the S3 API that checkpoints use: objects are
// written once and read.
type fakeBucket struct {
	mu      sync.Mutex
	away    bool
	objects map[string][]byte
}

func (f *fakeBucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	object, found := f.objects[r.URL.Path]
	switch {
	case f.away:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "*" && !found:
		f.objects[r.URL.Path] = body
	case r.Method == http.MethodPut:
		w.WriteHeader(http.StatusPreconditionFailed)
	case r.Method == http.MethodGet && found:
		_, _ = w.Write(object)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// paths returns the paths of the objects with a suffix, in order.
func (f *fakeBucket) paths(suffix string) (paths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path := range f.objects {
		if strings.HasSuffix(path, suffix) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func (f *fakeBucket) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// Checkpoints go to a bucket as to a directory, with the credentials of KEYWARD_PUBLISH; an
// outage is logged, counted and found by doctor, and recover reads them from there.
func TestCheckpointsInABucket(t *testing.T) {
	bucket := &fakeBucket{objects: map[string][]byte{}, away: true}
	server := httptest.NewServer(bucket)
	t.Cleanup(server.Close)
	for variable, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": server.URL, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(variable, value)
	}
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	env["KEYWARD_CHECKPOINTS"] = "s3://kept/acme"
	first := launch(t, env, "worker", "--log-format=text")
	first.until(t, `msg="worker chore failed" chore="write checkpoint" error="checkpoint not written to s3://kept/acme/: .*503`)
	keyward(t, env, "doctor").want(t, exitFailed, "FAIL  checkpoints", "503")
	first.stop()
	bucket.setAway(false)
	launch(t, env, "worker", "--log-format=text").until(t, "leadership acquired")
	eventually(t, "a checkpoint", func() bool { return len(bucket.paths(checkpointSuffix)) > 0 })
	eventually(t, "doctor to know of it", func() bool {
		r := keyward(t, env, "doctor")
		return r.code == exitOK && strings.Contains(r.stdout, "OK    checkpoints     s3://kept/acme/ takes new documents and replaces none") &&
			strings.Contains(r.stdout, "OK    checkpoints     the last was written at")
	})
	at := "s3:/" + bucket.paths(checkpointSuffix)[0]
	keyward(t, env, "recover", "--checkpoint="+at, "--jwks="+strings.TrimSuffix(at, checkpointSuffix)+checkpointKeys).want(t, exitOK, "1 tenant compared: 0 differ")
	keyward(t, env, "recover", "--checkpoint=s3://kept/acme/none.checkpoint").want(t, exitFailed, "s3://kept/acme/none.checkpoint", "404")
	bucket.cut(bucket.paths(checkpointSuffix)[0])
	verifyArchived(t, env, at)
	keyward(t, env, "recover", "--checkpoint=s3://kept/acme/cut").want(t, exitFailed, "keyward: s3://kept/acme/cut: not a checkpoint")
	keyward(t, env, "recover", "--checkpoint=s3://kept/acme/bare").want(t, exitFailed, "s3://kept/acme/bare has a checkpoint of all tenants without its leaves")
}

// verifyArchived verifies the platform's history with a checkpoint where the worker wrote it,
// on a running server and offline, and with what is no checkpoint.
func verifyArchived(t *testing.T, env environ, at string) {
	t.Helper()
	files := func() int {
		left, err := filepath.Glob(filepath.Join(os.TempDir(), "keyward-*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(left)
	}
	t.Setenv("TMPDIR", t.TempDir())
	remote := maps.Clone(env)
	maps.Copy(remote, servedOn(t, env))
	jwks := "--jwks=" + strings.TrimSuffix(at, checkpointSuffix) + checkpointKeys
	export := filepath.Join(t.TempDir(), "platform.ndjson")
	ok(t, remote, "audit", "export", "--tenant=platform", "--out="+export)
	for _, args := range [][]string{{"--checkpoint=" + at}, {"--checkpoint=" + at, "--export=" + export}, {"--from=" + at, "--to=" + at, "--export=" + export}} {
		keyward(t, remote, append([]string{"audit", "verify", jwks}, args...)...).want(t, exitOK, "intact: ", "includes the checkpoint by ")
	}
	keyward(t, remote, "audit", "verify", jwks, "--checkpoint=s3://kept/acme/none.checkpoint").want(t, exitFailed, "s3://kept/acme/none.checkpoint", "404")
	keyward(t, remote, "audit", "verify", jwks, "--checkpoint=s3://kept/acme/cut").want(t, exitFailed, "keyward: s3://kept/acme/cut: not a checkpoint")
	if n := files(); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// cut adds two parts of a checkpoint: its beginning, and it without its leaves.
func (f *fakeBucket) cut(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := string(f.objects[path])
	f.objects["/kept/acme/cut"] = []byte(text[:10])
	f.objects["/kept/acme/bare"] = []byte(text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:])
}

// A tenant that cannot be recovered, and a run that was interrupted between its
// credentials and its keys, hold up no other: the rest is revoked, the command fails, and
// repeated it finishes what is left.
func TestRecoverGoesOn(t *testing.T) {
	env := deployed(t)
	remote := servedOn(t, env) // with the tenant acme
	rec := &recorder{url: remote["KEYWARD_URL"], key: remote["KEYWARD_API_KEY"]}
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"broken","policies":[{"alg":"ES256","default":true}]}`, true)
	file, later := filepath.Join(t.TempDir(), "all.checkpoint"), map[string]string{}
	for _, slug := range []string{"acme", "broken"} {
		ok(t, remote, "tenant", "update", slug, "--name=Later")
	}
	ok(t, remote, "audit", "checkpoint", "--all", "--out="+file)
	for _, slug := range []string{"acme", "broken"} { // the last event is lost
		later[slug] = `tenant_id = (SELECT id FROM tenants WHERE slug = '` + slug + `')`
		dbtest.Exec(t, env["KEYWARD_DATABASE_URL"], "SET session_replication_role = replica;"+
			"UPDATE tenants SET audit_seq = audit_seq - 1, audit_hash = (SELECT prev_hash FROM audit_events e WHERE e.tenant_id = tenants.id AND e.seq = tenants.audit_seq) WHERE slug = '"+slug+"';"+
			"DELETE FROM audit_events WHERE "+later[slug]+" AND seq > (SELECT audit_seq FROM tenants WHERE slug = '"+slug+"')")
	}
	dbtest.Exec(t, env["KEYWARD_DATABASE_URL"], "SET session_replication_role = replica; UPDATE policies SET mac = NULL WHERE "+later["broken"])
	keyward(t, env, "recover", "--checkpoint="+file, "--revoke").want(t, exitFailed, "2 differ", "recovered  acme", "failed     broken", "1 of 2 tenants could not be recovered")
	keyward(t, env, "recover", "--checkpoint="+file).want(t, exitFailed, "1 differ", "1 was recovered before")
}
