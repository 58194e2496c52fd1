package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyward/keyward/client"
)

// hooked is served with a webhook receiver that answers as given.
func hooked(t *testing.T) (env environ, at string, answer *atomic.Int32) {
	t.Helper()
	deployed := deployed(t)
	deployed["KEYWARD_WEBHOOK_ALLOW"] = "127.0.0.0/8"
	env = servedOn(t, deployed)
	answer = new(atomic.Int32)
	answer.Store(http.StatusInternalServerError)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(int(answer.Load()))
	}))
	t.Cleanup(receiver.Close)
	return env, receiver.URL, answer
}

// delivery waits for a delivery with a status, and returns it.
func delivery(t *testing.T, env environ, webhook, status string) client.WebhookDelivery {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, d := range okJSON[client.WebhookDeliveryList](t, env, "webhook", "deliveries", webhook, "--status="+status).Items {
			if d.LastAttemptAt != nil {
				return d
			}
		}
	}
	t.Fatalf("no delivery is %s", status)
	return client.WebhookDelivery{}
}

func TestWebhookDeliveries(t *testing.T) {
	env, at, answer := hooked(t)
	env["KEYWARD_TENANT"] = "acme"
	made := okJSON[client.Webhook](t, env, "webhook", "create", at+"/hunter2", "--action=key.*,tenant.updated", "--action=policy.retired")
	if len(made.Actions) != 3 || made.URL != at+"/hunter2" {
		t.Errorf("%+v", made)
	}
	id := made.ID.String()
	keyward(t, env, "webhook", "deliveries", id).want(t, exitOK, "No matching deliveries.")
	ok(t, env, "tenant", "update", "acme", "--name=Acme")
	d := delivery(t, env, id, "pending")
	if d.Event.Tenant != "acme" || d.Event.Action != "tenant.updated" {
		t.Errorf("%+v", d)
	}
	keyward(t, env, "webhook", "deliveries", id).want(t, exitOK, "LAST ANSWER", "pending", "500 refused", "tenant.updated")
	answer.Store(http.StatusNoContent)
	keyward(t, env, "webhook", "redeliver", id, d.ID.String()).want(t, exitOK, "It is due now", d.ID.String(), "pending")
	if again := delivery(t, env, id, "delivered"); again.ID != d.ID {
		t.Errorf("%+v", again)
	}
	if again := okJSON[client.WebhookDelivery](t, env, "webhook", "redeliver", id, d.ID.String()); again.ID != d.ID || again.Status != client.WebhookDeliveryStatusPending {
		t.Errorf("%+v", again)
	}
	keyward(t, env, "webhook", "deliveries", id, "--status=lost").want(t, exitUsage, "--status")
	keyward(t, env, "webhook", "redeliver", id, id).want(t, exitFailed, "not_found")
	ok(t, env, "webhook", "update", id, "--disable")
	keyward(t, env, "webhook", "redeliver", id, d.ID.String()).want(t, exitFailed, "conflict", "409")
}

func TestWebhooks(t *testing.T) {
	env, at, _ := hooked(t)
	all := okJSON[client.Webhook](t, env, "webhook", "create", "@"+fileOf(t, at+"/all\n"))
	env["KEYWARD_TENANT"] = "acme"
	r := keyward(t, env, "webhook", "create", at+"/hunter2", "--action=key.*", "--description=Gateways")
	r.want(t, exitOK, "A webhook of acme.", "/t/platform/.well-known/jwks.json", "Gateways", "key.*", "active")
	list := okJSON[client.WebhookList](t, env, "webhook", "list").Items
	if len(list) != 1 || list[0].Description == nil || *list[0].Description != "Gateways" {
		t.Fatalf("%+v", list)
	}
	id := list[0].ID.String()
	keyward(t, env, "webhook", "list").want(t, exitOK, "LAST DELIVERY", id, at+"/hunter2", "key.*", "Gateways")
	keyward(t, env, "webhook", "list", "--tenant=").want(t, exitOK, all.ID.String(), at+"/all", " all ")
	keyward(t, env, "webhook", "show", id).want(t, exitOK, "actions", "key.*", "updated")
	keyward(t, env, "webhook", "show", all.ID.String()).want(t, exitFailed, "not_found")

	keyward(t, env, "webhook", "update", id).want(t, exitUsage, "no change given")
	keyward(t, env, "webhook", "update", id, "--enable", "--disable").want(t, exitUsage, "--enable", "--disable")
	keyward(t, env, "webhook", "update", id, "--all-actions", "--action=key.*").want(t, exitUsage, "--action")
	keyward(t, env, "webhook", "update", id, "--disable", "--to="+at+"/moved").want(t, exitOK, "No events will be sent", "disabled (requested)", "/moved", "key.*", "Gateways")
	changed := okJSON[client.Webhook](t, env, "webhook", "update", id, "--enable", "--all-actions", "--description=")
	if changed.Status != client.WebhookStatusActive || len(changed.Actions) != 0 || changed.Description != nil && *changed.Description != "" || changed.URL != at+"/moved" {
		t.Errorf("%+v", changed)
	}
	for _, bad := range []string{"ftp://hunter2.example/", "http://10.0.0.1/hunter2", "hunter2"} {
		r := keyward(t, env, "webhook", "create", bad)
		if r.want(t, exitFailed, "url must"); strings.Contains(r.stderr, "hunter2") {
			t.Errorf("the URL is shown: %s", r.stderr)
		}
	}
	keyward(t, env, "webhook", "create", at, "--action=everything").want(t, exitFailed, "actions[0]")
	keyward(t, env, "webhook", "create").want(t, exitUsage, "url")
	keyward(t, env, "webhook", "show", "first").want(t, exitUsage, "id")

	r = keyward(t, env, "webhook", "delete", id)
	r.want(t, exitUsage, "A webhook of acme", "Nothing more will be posted to 127.0.0.1:", "nothing was changed: give --yes")
	if strings.Contains(r.stderr, "moved") {
		t.Errorf("more than the host is shown: %s", r.stderr)
	}
	keyward(t, env, "webhook", "show", id).want(t, exitOK, "active")
	keyward(t, env, "webhook", "delete", id, "--yes").want(t, exitOK, id+" is deleted.")
	keyward(t, env, "webhook", "delete", id, "--yes").want(t, exitFailed, "not_found")
	delete(env, "KEYWARD_TENANT")
	keyward(t, env, "webhook", "update", all.ID.String(), "--action=tenant.deleted").want(t, exitOK, "tenant.deleted")
	keyward(t, env, "webhook", "deliveries", all.ID.String()).want(t, exitOK)
	keyward(t, env, "webhook", "delete", all.ID.String()).want(t, exitUsage, "the platform, for the events of all tenants")
	ok(t, env, "webhook", "delete", all.ID.String(), "--yes")
	keyward(t, env, "webhook", "list").want(t, exitOK, "No items.")
}
