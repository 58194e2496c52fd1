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
	var id string
	for _, k := range okJSON[client.APIKeyList](t, env, "api-key", "list").Items {
		if k.Name == "deputy" {
			id = k.ID.String()
		}
	}
	keyward(t, env, "api-key", "revoke", "--children", "--yes", id).want(t, exitOK, "2 API keys that descend from it are revoked too")
	for slug, key := range children {
		refused := environ{"KEYWARD_URL": env["KEYWARD_URL"], "KEYWARD_API_KEY": key}
		keyward(t, refused, "tenant", "show", slug).want(t, exitFailed, "unauthenticated")
	}
	ok(t, env, "audit", "verify", "--tenant=platform")
}
