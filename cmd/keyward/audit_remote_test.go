package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db/dbtest"
)

// through returns an environment that reaches Keyward through a proxy, which
// changes responses with the given function.
func through(t *testing.T, env environ, change func(w http.ResponseWriter, r *http.Request, next http.Handler)) environ {
	t.Helper()
	at, err := url.Parse(env["KEYWARD_URL"])
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.FlushInterval = -1
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { change(w, r, proxy) }))
	t.Cleanup(s.Close)
	return environ{"KEYWARD_URL": s.URL, "KEYWARD_API_KEY": env["KEYWARD_API_KEY"], "KEYWARD_TENANT": env["KEYWARD_TENANT"]}
}

// short truncates a response after a number of bytes.
type short struct {
	http.ResponseWriter
	left int
}

func (s *short) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 {
		_, _ = s.ResponseWriter.Write(b[:s.left+len(b)])
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return s.ResponseWriter.Write(b)
}

func (s *short) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAuditVerifyOnline(t *testing.T) {
	deployed := deployed(t)
	env := servedOn(t, deployed)
	keyward(t, env, "audit", "verify").want(t, exitOK, "intact according to the server: ", "events of platform")
	env["KEYWARD_TENANT"] = "acme"
	keyward(t, env, "audit", "verify").want(t, exitOK, "events of acme")
	if v := okJSON[client.AuditVerification](t, env, "audit", "verify"); !v.Intact || v.Events < 3 || v.Head.Seq != v.Events {
		t.Errorf("%+v", v)
	}
	keyward(t, env, "audit", "verify", "--tenant=nobody").want(t, exitFailed, "tenant_not_found")
	keyward(t, env, "audit", "verify", "--jwks=x").want(t, exitUsage, "--checkpoint and --jwks go together")
	dbtest.Exec(t, deployed["KEYWARD_DATABASE_URL"],
		"SET session_replication_role = replica; UPDATE audit_events SET reason = 'nothing' WHERE seq = 3 AND tenant_id = (SELECT id FROM tenants WHERE slug = 'acme')")
	keyward(t, env, "audit", "verify").want(t, exitFailed, "broken at seq 3", "only the 2 events before")
	r := keyward(t, env, "audit", "verify", "--json")
	var v client.AuditVerification
	if r.want(t, exitFailed); json.Unmarshal([]byte(r.stdout), &v) != nil || v.Intact || v.BrokenAt == nil || *v.BrokenAt != 3 || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	keyward(t, env, "audit", "verify", "--tenant=platform").want(t, exitOK, "events of platform")
}

// A kept checkpoint detects a rewritten history that the server itself reports
// as intact.
func TestAuditVerifyFindsWhatTheServerCannot(t *testing.T) {
	deployed := deployed(t)
	env := servedOn(t, deployed)
	dir := t.TempDir()
	kept, set, answer := filepath.Join(dir, "acme.checkpoint"), filepath.Join(dir, "platform.json"), filepath.Join(dir, "answer.json")
	ok(t, env, "tenant", "update", "acme", "--name=Acme")
	keyward(t, env, "audit", "checkpoint", "--tenant=acme", "--out="+kept).want(t, exitOK, "The history of acme ends at seq", "/t/platform/.well-known/jwks.json")
	rec := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	if err := os.WriteFile(set, rec.ask(t, "GET", "/.well-known/jwks.json", "", false), 0o600); err != nil {
		t.Fatal(err)
	}
	ok(t, env, "tenant", "update", "acme", "--name=Acme Inc.")
	keyward(t, env, "audit", "verify", "--checkpoint="+kept).want(t, exitOK, "includes the checkpoint", "Warning: the checkpoint was verified with keys", "intact: ")
	if r := keyward(t, env, "audit", "verify", "--checkpoint="+kept, "--jwks="+set); r.code != exitOK || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	keyward(t, env, "audit", "verify", "--checkpoint="+kept, "--jwks="+env["KEYWARD_URL"]+"/.well-known/jwks.json").want(t, exitOK, "Warning: ")
	proof := okJSON[chainProof](t, env, "audit", "verify", "--checkpoint="+kept, "--jwks="+set)
	if !proof.Intact || proof.Checkpoint == nil || proof.Checkpoint.Seq >= proof.Head.Seq || proof.Checkpoint.Tenant != "acme" {
		t.Errorf("%+v", proof)
	}
	keyward(t, env, "audit", "verify", "--checkpoint="+kept, "--tenant=platform").want(t, exitFailed, "the checkpoint belongs to another tenant")
	_, other := signCheckpoint(t, audit.Event{Seq: 1, Hash: make([]byte, 32)})
	keyward(t, env, "audit", "verify", "--checkpoint="+kept, "--jwks="+other).want(t, exitFailed, "not a valid checkpoint")
	ok(t, env, "audit", "checkpoint", "--tenant=acme", "--out="+answer, "--json")
	keyward(t, env, "audit", "verify", "--checkpoint="+answer).want(t, exitOK, "includes the checkpoint")

	ok(t, env, "key", "rotate", "--tenant=platform", "--alg=ES256", "--yes") // another platform key signs from now on
	keyward(t, env, "audit", "verify", "--checkpoint="+kept).want(t, exitOK, "includes the checkpoint")
	history := fileOf(t, string(rec.ask(t, "GET", "/t/platform/.well-known/jwks-history", "", false)))
	keyward(t, env, "audit", "verify", "--checkpoint="+kept, "--jwks="+history).want(t, exitOK, "includes the checkpoint")
	signer := okJSON[client.KeyList](t, env, "key", "list", "--tenant=platform", "--state=deprecated").Items[0].KID
	ok(t, env, "key", "revoke", "--tenant=platform", "--reason=compromised", "--yes", "--", signer)
	keyward(t, env, "audit", "verify", "--checkpoint="+kept).want(t, exitFailed, "was revoked")
	forge(t, deployed, env)
	keyward(t, env, "audit", "verify", "--tenant=acme").want(t, exitOK, "intact according to the server")
	keyward(t, env, "audit", "verify", "--checkpoint="+kept, "--jwks="+set).want(t, exitFailed, "was rewritten since the checkpoint")
	dbtest.Exec(t, deployed["KEYWARD_DATABASE_URL"], `SET session_replication_role = replica;
		DELETE FROM audit_events WHERE seq > 2 AND tenant_id = (SELECT id FROM tenants WHERE slug = 'acme');
		UPDATE tenants t SET audit_seq = 2, audit_hash = e.hash FROM audit_events e WHERE e.tenant_id = t.id AND e.seq = 2 AND t.slug = 'acme'`)
	keyward(t, env, "audit", "verify", "--tenant=acme").want(t, exitOK, "2 events of acme")
	keyward(t, env, "audit", "verify", "--checkpoint="+kept, "--jwks="+set).want(t, exitFailed, "events are missing")
}

// forge rewrites the first event of acme and all later hashes, as an attacker
// with database access could.
func forge(t *testing.T, deployed, env environ) {
	t.Helper()
	var events []audit.Event
	for line := range strings.Lines(ok(t, env, "audit", "export", "--tenant=acme")) {
		e, err := audit.ParseLine([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	events[0].Actor.Name = "somebody else"
	head, events := audit.Chain(audit.Genesis(events[0].TenantID), events)
	sql := "SET session_replication_role = replica;"
	for _, e := range events {
		sql += fmt.Sprintf(`UPDATE audit_events SET actor_name = '%s', prev_hash = '\x%x', hash = '\x%x' WHERE tenant_id = '%s' AND seq = %d;`,
			e.Actor.Name, e.PrevHash, e.Hash, e.TenantID, e.Seq)
	}
	dbtest.Exec(t, deployed["KEYWARD_DATABASE_URL"], sql+fmt.Sprintf(`UPDATE tenants SET audit_hash = '\x%x' WHERE id = '%s'`, head.Hash, head.TenantID))
}

// A contradiction between the server's report and its export is detected.
func TestAuditVerifyOfAServerThatContradictsItself(t *testing.T) {
	env := served(t)
	kept := filepath.Join(t.TempDir(), "checkpoint")
	ok(t, env, "audit", "checkpoint", "--tenant=acme", "--out="+kept)
	for said, answer := range map[string]string{
		"contradicts itself": `{"intact":true,"events":3,"head":{"seq":3,"hash":"00"}}`,
		"events are missing": `{"intact":true,"events":999,"head":{"seq":999,"hash":"00"}}`,
	} {
		lying := through(t, env, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/audit/verify") {
				fmt.Fprint(w, answer)
				return
			}
			next.ServeHTTP(w, r)
		})
		keyward(t, lying, "audit", "verify", "--checkpoint="+kept).want(t, exitFailed, said)
	}
}

// If the server's verification times out, the error names the alternative.
func TestAuditVerifyOfALongHistory(t *testing.T) {
	env := served(t)
	slow := through(t, env, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	keyward(t, slow, "audit", "verify", "--tenant=acme").want(t, exitFailed, "no answer", "audit export --tenant acme | keyward audit verify --export -")
}

// An export is the API's stream, unchanged, in both formats and with every
// filter.
func TestAuditExport(t *testing.T) {
	env := served(t)
	env["KEYWARD_TENANT"] = "acme"
	kid := okJSON[client.RotateResult](t, env, "key", "rotate", "--reason=a drill").Active.KID
	file := filepath.Join(t.TempDir(), "events.csv")
	ok(t, env, "audit", "export", "--out="+file)
	rows, err := csv.NewReader(strings.NewReader(read(t, file))).ReadAll()
	if err != nil || strings.Join(rows[0], ",") != strings.Join(audit.CSVColumns, ",") {
		t.Fatalf("%v, %v", rows, err)
	}
	ndjson := ok(t, env, "audit", "export")
	if lines := strings.Split(ndjson, "\n"); len(lines) != len(rows)-1 || len(lines) < 5 {
		t.Errorf("%d lines, %d rows", len(lines), len(rows))
	}
	keyward(t, nil, "audit", "verify", "--export="+fileOf(t, ndjson+"\n")).want(t, exitOK, "intact: ")
	who := okJSON[client.APIKeyList](t, environ{"KEYWARD_URL": env["KEYWARD_URL"], "KEYWARD_API_KEY": env["KEYWARD_API_KEY"]}, "api-key", "list").Items[0].ID.String()
	count := func(args ...string) int {
		return strings.Count(keyward(t, env, append([]string{"audit", "export"}, args...)...).stdout, "\n")
	}
	all := count()
	for filter, want := range map[string]int{
		"--kid=" + kid + " --state=active": 1, "--state=deprecated": 1, "--state=suspended": 0, "--action=key.activated --since=1h": 2,
		"--actor=" + who: all, "--actor=nobody": 0, "--until=1h": 0, "--since=1h --order=desc": all,
	} {
		if got := count(strings.Fields(filter)...); got != want {
			t.Errorf("%s: %d events, want %d", filter, got, want)
		}
	}
	newest := strings.SplitN(ok(t, env, "audit", "export", "--order=desc"), "\n", 2)[0]
	if !strings.HasSuffix(ndjson, newest) {
		t.Errorf("the newest is %s", newest)
	}
	keyward(t, env, "audit", "list", "--state=deprecated").want(t, exitOK, "key.deprecated")
	keyward(t, env, "audit", "export", "--state=nice").want(t, exitUsage, "--state")
	keyward(t, env, "audit", "export", "--format=xml").want(t, exitUsage, "--format")
	keyward(t, env, "audit", "export", "--format=csv", "--json").want(t, exitUsage, "--json")
	keyward(t, env, "audit", "export", "--action=no.such").want(t, exitFailed, "action")
	keyward(t, env, "audit", "export", "--out="+filepath.Join(file, "x")).want(t, exitFailed, "keyward: ")
	ok(t, env, "audit", "export", "--out=/dev/null")
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Errorf("/dev/null is replaced: %v, %v", info, err)
	}
}

// Platform roles can read the history of a deleted tenant by its id.
func TestTheHistoryOfADeletedTenant(t *testing.T) {
	env := served(t)
	id := okJSON[client.Tenant](t, env, "tenant", "show", "acme").ID.String()
	auditor := environ{"KEYWARD_URL": env["KEYWARD_URL"], "KEYWARD_API_KEY": createdKey(t, env, "globex")}
	ok(t, env, "tenant", "delete", "acme", "--yes")
	keyward(t, env, "audit", "list", "--tenant="+id).want(t, exitOK, "tenant.deleted")
	keyward(t, nil, "audit", "verify", "--export="+fileOf(t, ok(t, env, "audit", "export", "--tenant="+id)+"\n")).want(t, exitOK, "of tenant "+id)
	keyward(t, env, "audit", "list", "--tenant=acme").want(t, exitFailed, "tenant_not_found")
	keyward(t, auditor, "audit", "list", "--tenant="+id).want(t, exitFailed, "tenant_not_found")
}

// createdKey returns the API key of an auditor of a new tenant.
func createdKey(t *testing.T, env environ, slug string) string {
	t.Helper()
	ok(t, env, "tenant", "create", slug)
	var made struct{ Key string }
	rec := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/"+slug+"/api-keys", `{"name":"n","role":"tenant_auditor"}`, true), &made)
	return made.Key
}

// An interrupted export leaves the previous file.
func TestAnExportThatBreaksOff(t *testing.T) {
	env := served(t)
	env["KEYWARD_TENANT"] = "acme"
	broken := through(t, env, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Accept-Encoding")
		next.ServeHTTP(&short{w, 700}, r)
	})
	dir := t.TempDir()
	for _, form := range []string{"ndjson", "csv"} {
		file := filepath.Join(dir, "events."+form)
		if err := os.WriteFile(file, []byte("of yesterday"), 0o600); err != nil {
			t.Fatal(err)
		}
		keyward(t, broken, "audit", "export", "--out="+file).want(t, exitFailed, "incomplete", "incomplete")
		if got := read(t, file); got != "of yesterday" {
			t.Errorf("%s", got)
		}
		if r := keyward(t, broken, "audit", "export", "--format="+form); r.code != exitFailed || r.stdout == "" {
			t.Errorf("%+v", r)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
	page := through(t, env, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<h1>Please sign in</h1>")
	})
	keyward(t, page, "audit", "export", "--out="+filepath.Join(dir, "events.csv")).want(t, exitFailed, client.ErrNotKeyward.Error())
}
