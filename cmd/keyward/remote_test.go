package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyward/keyward/client"
)

// ok runs a command that must succeed and returns its stdout.
func ok(t *testing.T, env environ, args ...string) string {
	t.Helper()
	r := keyward(t, env, args...)
	r.want(t, exitOK)
	return strings.TrimSpace(r.stdout)
}

// okJSON is ok for a command that prints a JSON document.
func okJSON[T any](t *testing.T, env environ, args ...string) (v T) {
	t.Helper()
	unmarshal(t, []byte(ok(t, env, append(args, "--json")...)), &v)
	return v
}

// Destructive commands print their effect, and change nothing without a
// terminal and without --yes.
func TestNothingIsDestroyedUnasked(t *testing.T) {
	env := served(t)
	env["KEYWARD_TENANT"] = "acme"
	ok(t, env, "policy", "put", "ES256")
	kid := okJSON[client.KeyList](t, env, "key", "list", "--state=active", "--alg=EdDSA").Items[0].KID
	ok(t, env, "key", "rotate", "--alg=EdDSA") // which breaks no token
	ok(t, env, "key", "revoke", "--reason=superseded", "--yes", "--", kid)
	admin := okJSON[client.APIKeyList](t, env, "api-key", "list").Items[0].ID.String()
	active := okJSON[client.KeyList](t, env, "key", "list", "--state=active", "--alg=EdDSA").Items[0].KID
	before := ok(t, env, "key", "list", "--json") + ok(t, env, "tenant", "list", "--json") + ok(t, env, "policy", "list", "--json")
	for command, said := range map[string]string{
		"key revoke --reason=compromised -- " + active: "A fresh key that no verifier has seen will sign",
		"key revoke --reason=superseded -- " + active:  "The standby ",
		"key revoke --reason=superseded --alg=EdDSA":   active,
		"key revoke-all --reason=unspecified":          "4 keys will leave the JWKS at once",
		"key purge":                                    "The public part of 1 key will be purged",
		"tenant delete acme":                           "acme (-, ",
		"policy retire ES256":                          "Nothing will be signed with ES256",
		"api-key revoke " + admin:                      "will be refused at once",
	} {
		keyward(t, env, strings.Fields(command)...).want(t, exitUsage, said, "nothing was changed: give --yes")
	}
	if after := ok(t, env, "key", "list", "--json") + ok(t, env, "tenant", "list", "--json") + ok(t, env, "policy", "list", "--json"); after != before {
		t.Errorf("something was changed:\n%s\n%s", before, after)
	}
	keyward(t, env, "key", "revoke", "--reason=superseded", "--yes", "--", "").want(t, exitUsage, "the kid is empty") // of a script's empty variable
	keyward(t, env, "key", "revoke", "--reason=superseded", "--yes", "--alg=EdDSA", "--", active).want(t, exitUsage, "--alg")
	ok(t, env, "key", "revoke", "--reason=superseded", "--yes", "--alg=EdDSA")
	if k := okJSON[client.KeyList](t, env, "key", "list", "--state=active", "--alg=EdDSA").Items[0]; k.KID == active {
		t.Errorf("%s still signs", active)
	}
	keyward(t, env, "key", "purge", "--yes").want(t, exitOK, "2 keys purged.")
	keyward(t, env, "policy", "retire", "ES256", "--yes").want(t, exitOK, "ES256 of acme is retired.")
	keyward(t, env, "key", "revoke-all", "--reason=compromised", "--comment=a drill", "--yes").want(t, exitOK, "keys revoked.", "MAY STILL TRUST IT", "active", "standby")
	keyward(t, env, "tenant", "delete", "--yes").want(t, exitOK, "acme is deleted")
	keyward(t, env, "key", "list").want(t, exitFailed, "tenant_not_found")
}

func TestTenants(t *testing.T) {
	env := served(t)
	made := okJSON[client.Tenant](t, env, "tenant", "create", "globex", "--name=Globex", "--alg=RS256", "--alg=ES256", "--clock-skew=30s")
	if made.Slug != "globex" || made.Name != "Globex" || made.ClockSkewSeconds != 30 {
		t.Errorf("%+v", made)
	}
	policies := okJSON[client.PolicyList](t, env, "policy", "list", "--tenant=globex").Items
	if len(policies) != 2 || policies[0].Alg != client.AlgRS256 || !policies[0].Default {
		t.Errorf("%+v", policies)
	}
	keyward(t, env, "tenant", "create", "--slug=initech", `--body={"name":"Initech"}`).want(t, exitOK, "slug", "initech", "Initech", "JWKS caching", "max-age 5m")
	keyward(t, env, "tenant", "create", "initech").want(t, exitFailed, "conflict", "409")
	keyward(t, env, "tenant", "create").want(t, exitUsage, "SLUG")
	keyward(t, env, "tenant", "list", "--search=lob").want(t, exitOK, "SLUG", "globex", "active")
	keyward(t, env, "tenant", "list", "--search=nobody").want(t, exitOK, "No matching tenants.")
	keyward(t, env, "tenant", "update", "globex", "--custom-domain=id.globex.example", "--clear=name").want(t, exitOK, "id.globex.example")
	keyward(t, env, "tenant", "update", "globex", "--clear=name", "--name=x").want(t, exitUsage, "contradict")
	keyward(t, env, "tenant", "update", "globex").want(t, exitUsage, "no change given")
	keyward(t, env, "tenant", "update", "globex", "--jwks-max-age=soon").want(t, exitUsage, "--jwks-max-age", "30d")
	describeProvider(t, env)
	keyward(t, env, "tenant", "suspend", "globex").want(t, exitOK, "will sign no token", "suspended")
	keyward(t, env, "token", "sign", "--tenant=globex").want(t, exitFailed, "tenant_suspended")
	keyward(t, env, "tenant", "resume", "--tenant=globex").want(t, exitOK, "active")
	keyward(t, env, "tenant", "show").want(t, exitUsage, "--tenant")
	keyward(t, env, "tenant", "show", "nobody").want(t, exitFailed, "404")
	id := made.ID.String()
	jws := ok(t, env, "tenant", "delete", "globex", "--yes")
	if again := ok(t, env, "tenant", "certificate", id); strings.Count(jws, ".") != 2 || strings.Count(again, ".") != 2 {
		t.Errorf("%q, %q", jws, again)
	}
	type list struct {
		Items []client.Tenant
		Next  *string `json:"next_cursor"`
	}
	first := okJSON[list](t, env, "tenant", "list", "--limit=1")
	if len(first.Items) != 1 || first.Next == nil {
		t.Fatalf("%+v", first)
	}
	rest := okJSON[list](t, env, "tenant", "list", "--cursor="+*first.Next)
	if len(rest.Items) == 0 || rest.Next != nil || rest.Items[0].Slug == first.Items[0].Slug {
		t.Errorf("%+v", rest)
	}
}

// describeProvider sets the metadata of globex in every way, and removes them.
func describeProvider(t *testing.T, env environ) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metadata.json")
	if err := os.WriteFile(file, []byte(`{"token_endpoint":"https://login.globex.example/token","scopes_supported":["openid"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	keyward(t, env, "tenant", "update", "globex", `--metadata={"token_endpoint":"https://a.example/?a=1&b=2"}`).want(t, exitOK, "token_endpoint: https://a.example/?a=1&b=2")
	keyward(t, env, "tenant", "update", "globex", "--metadata=@"+file).want(t, exitOK, "metadata", "token_endpoint: https://login.globex.example/token")
	keyward(t, env, "tenant", "show", "globex").want(t, exitOK, `scopes_supported: ["openid"]`)
	keyward(t, env, "tenant", "update", "globex", `--metadata={"issuer":"https://evil.example"}`).want(t, exitFailed, "400", "metadata.issuer")
	keyward(t, env, "tenant", "update", "globex", "--metadata=[]").want(t, exitUsage, "--metadata")
	keyward(t, env, "tenant", "update", "globex", "--metadata={}", "--clear=metadata").want(t, exitUsage, "contradict")
	if shown := okJSON[client.Tenant](t, env, "tenant", "show", "globex"); shown.Metadata == nil || !strings.Contains(string(*shown.Metadata), "login.globex.example") {
		t.Errorf("%+v", shown)
	}
	if cleared := okJSON[client.Tenant](t, env, "tenant", "update", "globex", "--clear=metadata"); cleared.Metadata != nil {
		t.Errorf("%s", *cleared.Metadata)
	}
	made := okJSON[client.Tenant](t, env, "tenant", "create", "hooli", "--metadata=@"+file)
	if made.Metadata == nil || string(*made.Metadata) != `{"scopes_supported":["openid"],"token_endpoint":"https://login.globex.example/token"}` {
		t.Errorf("%+v", made)
	}
}

func TestTokens(t *testing.T) {
	env := served(t)
	env["KEYWARD_TENANT"] = "acme"
	file := filepath.Join(t.TempDir(), "token")
	token := ok(t, env, "token", "sign", `--claims={"sub":"alice","n":12345678901234567890}`, "--ttl=1m", "--typ=at+jwt")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keyward(t, env, "token", "verify", token).want(t, exitOK, "valid", "yes", "alice", "12345678901234567890", "at+jwt")
	keyward(t, env, "token", "verify", "@"+file, "--typ=at+jwt").want(t, exitOK, "yes")
	if v := okJSON[client.VerifyTokenResult](t, env, "token", "verify", token); !v.Valid {
		t.Errorf("%+v", v)
	}
	keyward(t, env, "token", "verify", token, "--audience=other").want(t, exitFailed, "NO", "wrong_audience")
	r := keyward(t, env, "token", "verify", token+"x", "--json")
	var v client.VerifyTokenResult
	if r.want(t, exitFailed); json.Unmarshal([]byte(r.stdout), &v) != nil || v.Valid || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	keyward(t, env, "token", "verify").want(t, exitUsage, "standard input")
	keyward(t, env, "token", "sign", "--claims=[]").want(t, exitUsage, "--claims")
	keyward(t, env, "token", "sign", "--claims=-").want(t, exitUsage, "--claims")
	keyward(t, env, "token", "sign", "--ttl=9999d").want(t, exitFailed, "422", "ttl_seconds")
	keyward(t, env, "token", "sign", "--alg=none").want(t, exitFailed, "alg")
}

func TestKeysAndHistory(t *testing.T) {
	env := served(t)
	env["KEYWARD_TENANT"] = "acme"
	keyward(t, env, "key", "rotate", "--dry-run").want(t, exitOK, "key.activated", "standby")
	preview := okJSON[client.RotatePreview](t, env, "key", "rotate", "--dry-run")
	if len(preview.Timeline) == 0 {
		t.Errorf("%+v", preview)
	}
	rotated := okJSON[client.RotateResult](t, env, "key", "rotate", "--reason=a drill")
	kid := rotated.Active.KID
	keyward(t, env, "key", "list").want(t, exitOK, "KID", "SAFE TO RETIRE", kid, "deprecated")
	keyward(t, env, "key", "list", "--state=nice").want(t, exitUsage, "--state")
	keyward(t, env, "key", "show", "--", kid).want(t, exitOK, kid, "active", "public JWK")
	keyward(t, env, "key", "show", "--pem", "--", kid).want(t, exitOK, "-----BEGIN PUBLIC KEY-----")
	keyward(t, env, "key", "show", "--jwk", "--", kid).want(t, exitOK, `"kid":"`+kid+`"`)
	keyward(t, env, "key", "show", "nobody").want(t, exitFailed, "key_not_found")
	keyward(t, env, "audit", "list", "--kid="+kid, "--order=asc").want(t, exitOK, "WHO", "key.activated", "a drill")
	keyward(t, env, "audit", "list", "--since=soon").want(t, exitUsage, "--since")
	if keyward(t, env, "audit", "list", "--since=1h", "--action=key.revoked").stdout != "" {
		t.Error("nothing was revoked")
	}
	file := filepath.Join(t.TempDir(), "events.ndjson")
	ok(t, env, "audit", "export", "--out="+file)
	lines, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seq := int64(0)
	for line := range strings.Lines(string(lines)) {
		var e client.AuditEvent
		unmarshal(t, []byte(line), &e)
		if seq++; e.Seq != seq || e.Tenant != "acme" {
			t.Errorf("event %d of %s is number %d", e.Seq, e.Tenant, seq)
		}
	}
	if seq < 5 {
		t.Errorf("%d events", seq)
	}
	delete(env, "KEYWARD_TENANT")
	keyward(t, env, "key", "list").want(t, exitUsage, "--tenant")
	keyward(t, env, "audit", "list", "--action=tenant.created").want(t, exitOK, "platform", "acme")
	keyward(t, environ{}, "tenant", "list").want(t, exitUsage, "KEYWARD_API_KEY")
	keyward(t, environ{"KEYWARD_API_KEY": "kw_hunter2", "KEYWARD_URL": "http://keys.example.com"}, "tenant", "list").want(t, exitUsage, "KEYWARD_URL", "--allow-http")
}
