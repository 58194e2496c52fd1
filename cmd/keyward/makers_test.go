package main

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/client"
)

// A credential that the command line makes has the operator as its maker, and one that a
// program makes with it has that credential: the list says so, for people and programs, and
// api-key revoke --children takes what it made along, in the platform's own tenant too.
func TestAPIKeyMakers(t *testing.T) {
	deployed := deployed(t)
	env := servedOn(t, deployed)
	ok(t, deployed, "api-key", "create", "--role=platform_admin", "--name=boss")
	deputy := ok(t, deployed, "api-key", "create", "--role=platform_admin", "--name=deputy")
	maker := func(scope ...string) map[string]client.Actor {
		all := map[string]client.Actor{}
		for _, k := range okJSON[client.APIKeyList](t, env, append([]string{"api-key", "list"}, scope...)...).Items {
			if k.CreatedBy == nil {
				t.Fatalf("%s has no maker", k.Name)
			}
			all[k.Name] = *k.CreatedBy
		}
		return all
	}
	if made := maker()["deputy"]; made.Type != "operator" || made != maker()["boss"] || made.ID == "" {
		t.Errorf("made by %+v", made)
	}
	api, err := client.New(env["KEYWARD_URL"], deputy)
	if err != nil {
		t.Fatal(err)
	}
	children := map[string]string{}
	for _, slug := range []string{"acme", "platform"} {
		name := "child of " + slug
		k, err := api.CreateTenantAPIKey(t.Context(), slug, client.CreateTenantAPIKeyRequest{Role: "tenant_auditor", Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		children[slug] = k.Key
		if by := maker("--tenant=" + slug)[name]; by.Type != "api_key" || by.Name != "deputy" {
			t.Errorf("%s is made by %+v", name, by)
		} else if table := ok(t, env, "api-key", "list", "--tenant="+slug); !strings.Contains(table, "deputy (api_key "+by.ID+")") {
			t.Errorf("the table has no maker:\n%s", table)
		}
	}
	made := okJSON[client.WorkloadIdentity](t, environ{"KEYWARD_URL": env["KEYWARD_URL"], "KEYWARD_API_KEY": deputy, "KEYWARD_TENANT": "acme"}, "workload", "create",
		"--name=ci", "--issuer=https://ci.example.com", "--audience=https://keys.example.com", "--role=tenant_signer", "--max-token-lifetime=10m", "--expires-in=720h",
		"--rule=environment=production", "--rule=environment=staging", "--rule=ref=a=b,c", "--rule-prefix=sub=repo:octo-org/")
	if r := made.Rules; len(r) != 3 || len(r[0].OneOf) != 2 || *r[1].Equals != "a=b,c" || *r[2].Prefix != "repo:octo-org/" || made.MaxTokenLifetimeSeconds != 600 || made.ExpiresAt == nil {
		t.Errorf("%+v", made)
	}
	if table := ok(t, env, "workload", "list", "--tenant=acme"); !strings.Contains(table, "environment=production|staging, ref=a=b,c, sub=repo:octo-org/…") || !strings.Contains(table, "deputy (api_key ") {
		t.Error(table)
	}
	if text := ok(t, env, "workload", "show", "--tenant=acme", made.ID.String()); !strings.Contains(text, "10m0s") {
		t.Error(text)
	}
	keyward(t, env, "workload", "create", "--tenant=acme", "--name=x", "--issuer=x", "--audience=x", "--role=tenant_signer", "--rule=sub").want(t, exitUsage, "--rule must be CLAIM=VALUE")
	otherID := okJSON[client.WorkloadIdentity](t, env, "workload", "create", "--tenant=acme", "--name=x", "--issuer=https://ci.example.com", "--audience=x", "--role=tenant_signer", "--rule=sub=x").ID.String()
	keyward(t, env, "workload", "delete", "--tenant=acme", otherID).want(t, exitUsage, "--yes")
	keyward(t, env, "workload", "delete", "--tenant=acme", "--yes", otherID).want(t, exitOK, "is deleted")

	var id string
	for _, k := range okJSON[client.APIKeyList](t, env, "api-key", "list").Items {
		if k.Name == "deputy" {
			id = k.ID.String()
		}
	}
	keyward(t, env, "api-key", "revoke", "--children", "--yes", id).want(t, exitOK, "Revoked too: 3 credentials")
	keyward(t, env, "workload", "show", "--tenant=acme", made.ID.String()).want(t, exitFailed, "not_found")
	for slug, key := range children {
		refused := environ{"KEYWARD_URL": env["KEYWARD_URL"], "KEYWARD_API_KEY": key}
		keyward(t, refused, "tenant", "show", slug).want(t, exitFailed, "unauthenticated")
	}
	ok(t, env, "audit", "verify", "--tenant=platform")
}
