package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
)

// restoreTest is an installation that was backed up before things were revoked in it, and
// what was kept elsewhere since.
type restoreTest struct {
	env             environ // of the restored database
	key             string  // of the platform
	checkpoint, set string
	acme, bare      string // exported histories
	platform        string
	leaked          string // the kid that was revoked, deprecated by then
	stolen, kept    client.CreatedAPIKey
	gone            client.WorkloadIdentity
	oldAdmin        string
	healthy         []string // kids of acme that were not revoked
}

// newRestoreTest has two tenants, acme and bare, in which the same happened.
func newRestoreTest(t *testing.T) (r restoreTest) {
	t.Helper()
	env, dir := deployed(t), t.TempDir()
	env["KEYWARD_PUBLIC_URL"] = "https://keys.example.com"
	r.env = env
	r.key = strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin").stdout)
	r.oldAdmin = strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin", "--name=old").stdout)
	running := launch(t, env, "serve", "--log-format=text")
	rec := &recorder{url: "http://" + running.until(t, servingAt)[1], key: r.key}
	for _, slug := range []string{"acme", "bare"} {
		rec.ask(t, "POST", "/v1/tenants", `{"slug":"`+slug+`","policies":[{"alg":"ES256","default":true},{"alg":"EdDSA"}]}`, true)
	}
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer","name":"stolen"}`, true), &r.stolen)
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer","name":"kept"}`, true), &r.kept)
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/workload-identities",
		`{"name":"ci","issuer":"https://ci.example.com","audience":"keyward","rules":[{"claim":"sub","equals":"main"}],"role":"tenant_signer"}`, true), &r.gone)
	_, r.leaked = rec.sign(t)
	r.healthy = slices.DeleteFunc(tenantKIDs(t, rec, "acme"), func(kid string) bool { return kid == r.leaked })
	remote := environ{"KEYWARD_URL": rec.url, "KEYWARD_API_KEY": r.key}
	file := filepath.Join(dir, "keyward.dump")
	runPostgres(t, "pg_dump", "--format=custom", "--file="+file, env["KEYWARD_DATABASE_URL"])

	ok(t, remote, "key", "rotate", "--tenant=acme", "--alg=ES256", "--yes") // the standby signs, the leaked key is deprecated
	ok(t, remote, "key", "revoke", "--tenant=acme", "--reason=compromised", "--yes", "--", r.leaked)
	ok(t, remote, "key", "revoke", "--tenant=bare", "--alg=ES256", "--reason=superseded", "--yes")
	ok(t, remote, "api-key", "revoke", "--tenant=acme", "--yes", r.stolen.ID.String())
	ok(t, remote, "workload", "delete", "--tenant=acme", "--yes", r.gone.ID.String())
	rec.ask(t, "PATCH", "/v1/tenants/acme", `{"not_before":"2026-01-01T00:00:00Z"}`, true)
	rec.ask(t, "PATCH", "/v1/tenants/acme", `{"not_before":"2026-01-02T03:04:05Z","name":"Acme"}`, true)
	var admins struct{ Items []client.APIKey }
	unmarshal(t, rec.ask(t, "GET", "/v1/api-keys", "", true), &admins)
	for _, k := range admins.Items {
		if k.Name == "old" {
			ok(t, remote, "api-key", "revoke", "--yes", k.ID.String())
		}
	}
	r.checkpoint = filepath.Join(dir, "all.checkpoint")
	r.set = fileOf(t, string(rec.ask(t, "GET", "/.well-known/jwks.json", "", false)))
	ok(t, remote, "audit", "checkpoint", "--all", "--out="+r.checkpoint)
	for slug, file := range map[string]*string{"acme": &r.acme, "bare": &r.bare, "platform": &r.platform} {
		*file = filepath.Join(dir, slug+".ndjson")
		ok(t, remote, "audit", "export", "--tenant="+slug, "--out="+*file)
	}
	running.stop()

	env["KEYWARD_DATABASE_URL"] = dbtest.Empty(t)
	runPostgres(t, "pg_restore", "--no-owner", "--no-privileges", "--dbname="+env["KEYWARD_DATABASE_URL"], file)
	if len(r.healthy) != 3 {
		t.Fatalf("acme published %d other keys", len(r.healthy))
	}
	return r
}

func (r restoreTest) recover(t *testing.T, args ...string) result {
	t.Helper()
	return keyward(t, r.env, append([]string{"recover", "--checkpoint=" + r.checkpoint, "--jwks=" + r.set}, args...)...)
}

// lastEvent returns the last event of an exported history.
func lastEvent(t *testing.T, file string) audit.Event {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(read(t, file)), "\n")
	e, err := audit.ParseLine([]byte(lines[len(lines)-1]))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// forgeTail returns a copy of an exported history with further events, chained as the
// genuine ones are, which needs no secret.
func forgeTail(t *testing.T, file string, events ...audit.Event) string {
	t.Helper()
	last := lastEvent(t, file)
	_, events = audit.Chain(audit.Head{TenantID: last.TenantID, Seq: last.Seq, Hash: last.Hash}, events)
	text := []byte(read(t, file))
	for _, e := range events {
		e.Tenant = last.Tenant
		text = audit.AppendLine(text, e)
	}
	return fileOf(t, string(text))
}

// movedNotBefore is an event that claims to have moved not_before.
func movedNotBefore(after string) audit.Event {
	return audit.Event{
		At: time.Now(), Action: audit.TenantUpdated, Actor: audit.Actor{Type: audit.ActorAPIKey, ID: "forged"},
		Details: audit.Details(map[string]any{"not_before": map[string]any{"before": nil, "after": after}}),
	}
}

// With a copy of a tenant's history, recover revokes what was revoked after the backup
// and nothing else; where it has none, everything.
func TestRecoverByACopyOfTheHistory(t *testing.T) {
	r := newRestoreTest(t)
	r.recover(t, "--history="+r.acme, "--history="+r.platform).want(t, exitFailed,
		"behind     acme", "which revoked 1 key and 2 credentials", "which revoked 0 keys and 1 credential\n",
		fmt.Sprintf("repeat by hand what is still wanted of tenant.updated (seq %d)\n", lastEvent(t, r.acme).Seq), // not what only moved not_before
		"3 differ", "for 2 of them only what was revoked in the events of --history")
	if back := serveAgain(t, r.env, r.key); !slices.Contains(tenantKIDs(t, back, "acme"), r.leaked) {
		t.Fatal("without --revoke a key was revoked")
	}
	bare := tenantKIDs(t, serveAgain(t, r.env, r.key), "bare")

	// Interrupted between credentials and keys, and repeated, it knows its own events.
	flipMACs := "SET session_replication_role = replica; UPDATE policies SET mac = set_byte(mac, 0, 255 - get_byte(mac, 0))"
	dbtest.Exec(t, r.env["KEYWARD_DATABASE_URL"], flipMACs)
	r.recover(t, "--history="+r.acme, "--history="+r.platform, "--revoke").want(t, exitFailed, "failed     acme", "failed     bare", "failed     platform", "3 of 3")
	dbtest.Exec(t, r.env["KEYWARD_DATABASE_URL"], flipMACs)

	// Events that nothing attests undo nothing of what the checkpoint attests.
	forged := forgeTail(t, r.acme, movedNotBefore("1970-01-01T00:00:00Z"),
		audit.Event{At: time.Now(), Action: audit.KeyRevoked, KID: r.leaked, Reason: string(keys.Superseded), Actor: audit.Actor{Type: audit.ActorAPIKey, ID: "forged"}})
	args := documented(t, "keyward recover --checkpoint all.checkpoint --jwks platform-jwks.json --history acme.ndjson --revoke", r.checkpoint, r.set)
	for i := range args {
		args[i] = strings.Replace(args[i], "acme.ndjson", forged, 1)
	}
	keyward(t, r.env, append(args, "--history="+r.platform)...).want(t, exitOK, "rewritten  platform", "with 2 events newer than the checkpoint",
		"recovered  acme", "revoked 1 key, 0 API keys, 0 workload identities and 0 approvals; activated 1 new key\n", "recovered  bare")

	after := serveAgain(t, r.env, r.key) // the platform's key, which was not revoked
	kids := tenantKIDs(t, after, "acme")
	for _, kid := range r.healthy {
		if !slices.Contains(kids, kid) {
			t.Errorf("%s was not revoked, and left the JWKS", kid)
		}
	}
	if slices.Contains(kids, r.leaked) || len(kids) != 4 { // a fresh key signs
		t.Errorf("acme publishes %v", kids)
	}
	for _, kid := range tenantKIDs(t, after, "bare") {
		if slices.Contains(bare, kid) {
			t.Errorf("bare, of which no copy was given, still publishes %s", kid)
		}
	}
	for credential, status := range map[string]int{r.stolen.Key: http.StatusUnauthorized, r.kept.Key: http.StatusOK, r.oldAdmin: http.StatusUnauthorized} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", after.url+"/v1/tenants/acme", nil)
		req.Header.Set("Authorization", "Bearer "+credential)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("GET /v1/tenants/acme answers %d, should be %d", resp.StatusCode, status)
		}
	}
	var tenant client.Tenant
	unmarshal(t, after.ask(t, "GET", "/v1/tenants/acme", "", true), &tenant)
	if tenant.NotBefore == nil || tenant.NotBefore.Year() != 2026 || tenant.NotBefore.Month() != 1 {
		t.Errorf("not_before is %v", tenant.NotBefore)
	}
	var revoked client.Key
	unmarshal(t, after.ask(t, "GET", "/v1/tenants/acme/keys/"+r.leaked, "", true), &revoked)
	if revoked.RevocationReason == nil || *revoked.RevocationReason != client.RevocationReasonCompromised {
		t.Errorf("the leaked key was revoked for %v", revoked.RevocationReason)
	}
	r.recover(t, "--history="+r.acme, "--revoke").want(t, exitOK, "0 differ from the checkpoint, 3 were recovered before")
	keyward(t, r.env, "doctor", "--all").want(t, exitOK, "OK    audit")
}

// A copy that was changed stops the command before it does anything. One that does not
// lead to the checkpoint, or begins after the backup, is no reason to revoke less.
func TestRecoverBelievesOnlyWhatTheCheckpointAttests(t *testing.T) {
	r := newRestoreTest(t)
	lines := strings.SplitAfter(read(t, r.acme), "\n")
	last := len(lines) - 2 // before the empty text after the last line
	variant := func(lines ...string) string { return "--history=" + fileOf(t, strings.Join(lines, "")) }
	for name, text := range map[string]string{
		"changed": variant(append(slices.Clone(lines[:last]), strings.Replace(lines[last], `"Acme"`, `"Acne"`, 1))...),
		"a gap":   variant(slices.Delete(slices.Clone(lines), 3, 4)...),
		"no copy": variant("id,kid\n"),
	} {
		if said := r.recover(t, text, "--revoke"); said.code != exitFailed || !strings.Contains(said.stderr, "a copy is NDJSON") || strings.Contains(said.stdout, "recovered") {
			t.Errorf("%s: %+v", name, said)
		}
	}
	keyward(t, r.env, "recover", "--history="+r.acme).want(t, exitUsage, "need --checkpoint")
	r.recover(t, variant(lines[:last]...)).want(t, exitFailed, "does not lead to the checkpoint", "replaces all of theirs")
	r.recover(t, variant(lines[last])).want(t, exitFailed, "begins at seq", "replaces all of theirs")

	// What a credential that came back made before anybody recovered is in no copy: it
	// ends with everything else.
	back := serveAgain(t, r.env, r.key)
	back.ask(t, "POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer","name":"planted"}`, true)
	bare := tenantKIDs(t, back, "bare")
	r.recover(t, "--history="+r.acme, "--history="+forgeTail(t, r.bare, movedNotBefore("9999-01-01T00:00:00Z")), "--history="+r.platform, "--revoke").want(t, exitOK,
		"events were written after the restore, from seq ", "revoked 4 keys, 3 API keys, 1 workload identity and")
	after := serveAgain(t, r.env, r.key)
	if kids := tenantKIDs(t, after, "acme"); slices.ContainsFunc(append(r.healthy, r.leaked), func(kid string) bool { return slices.Contains(kids, kid) }) {
		t.Errorf("acme publishes %v", kids)
	}
	if kids := tenantKIDs(t, after, "bare"); !slices.ContainsFunc(bare, func(kid string) bool { return slices.Contains(kids, kid) }) {
		t.Error("all keys of bare were replaced; nothing was written there after the restore")
	}
	var tenant client.Tenant
	unmarshal(t, after.ask(t, "GET", "/v1/tenants/bare", "", true), &tenant)
	if tenant.NotBefore != nil {
		t.Errorf("an event that nothing attests refuses all tokens before %v", tenant.NotBefore)
	}
}
