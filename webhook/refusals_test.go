package webhook

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
)

// What the tables refuse, whoever asks: here the superuser does.
func TestDatabaseRefuses(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	h := w.hook(&acme, k.url)
	w.happens(acme, 1)
	w.once(w.sender())
	conn, err := pgx.Connect(t.Context(), w.url)
	w.must(err)
	defer conn.Close(t.Context())
	names := strings.NewReplacer("{acme}", acme.String(), "{other}", other.String(), "{id}", h.ID.String())
	insert := "INSERT INTO webhooks (tenant_id, id, of_all, url, actions, created_at, updated_at, place_seq) VALUES ('{acme}', gen_random_uuid(), "
	delivery := `INSERT INTO webhook_deliveries (tenant_id, webhook_id, id, of_all, event_tenant_id, event_seq, action, asked_at, due_at, created_at) VALUES
		('{acme}', '{id}', gen_random_uuid(), `
	for _, c := range []struct{ rule, sql string }{
		{"webhooks_change_is_audited", insert + "false, 'u', '{}', now(), now(), 1)"},
		{"webhooks_change_is_audited", "UPDATE webhooks SET url = 'https://elsewhere.example'"},
		{"webhooks_change_is_audited", "UPDATE webhooks SET actions = '{}'"},
		{"webhooks_change_is_audited", "UPDATE webhooks SET status = 'disabled', disabled_reason = 'gone'"},
		{"", "UPDATE webhooks SET last_delivery_at = now()"},
		{"webhooks_all_is_platform", insert + "true, 'u', '{}', now(), now(), 1)"},
		{"webhooks_all_is_platform", "UPDATE webhooks SET of_all = true"},
		{"webhooks_identity", "UPDATE webhooks SET tenant_id = '{other}'"},
		{"webhooks_place_moves_on", "UPDATE webhooks SET place_seq = place_seq - 1"},
		{"webhooks_place", "UPDATE webhooks SET place_xid = '7'"},
		{"webhooks_status", "UPDATE webhooks SET status = 'asleep'"},
		{"webhooks_url", "UPDATE webhooks SET status = 'deleted'"},
		{"webhooks_disabled_reason", "UPDATE webhooks SET status = 'disabled'"},
		{"webhooks_deleted_stays", "UPDATE webhooks SET status = 'deleted', url = NULL; UPDATE webhooks SET status = 'active', url = 'u'"},
		{"webhooks_due_is_active", "UPDATE webhooks SET status = 'deleted', url = NULL, due_at = now()"},
		{"webhooks_actions", "UPDATE webhooks SET actions = '{key.revoked,DROP}'"},
		{"webhooks_actions", "UPDATE webhooks SET actions = '{NULL}'"},
		{"webhooks_failing", "UPDATE webhooks SET failures = 1"},
		{"webhook_deliveries_own_events", delivery + "false, '{other}', 1, 'tenant.created', now(), now(), now())"},
		{"webhook_deliveries_webhook", delivery + "true, '{other}', 1, 'tenant.created', now(), now(), now())"},
		{"webhook_deliveries_event", delivery + "false, '{acme}', 99, 'tenant.created', now(), now(), now())"},
		{"webhook_deliveries_once", delivery + "false, '{acme}', 3, 'tenant.created', now(), now(), now())"},
		{"", delivery + "false, '{acme}', 1, 'tenant.created', now(), now(), now())"},
		{"webhook_deliveries_identity", "UPDATE webhook_deliveries SET event_seq = 1"},
		{"webhook_deliveries_due", "UPDATE webhook_deliveries SET status = 'pending'"},
		{"webhook_deliveries_status", "UPDATE webhook_deliveries SET status = 'lost'"},
		{"webhook_deliveries_delivered", "UPDATE webhook_deliveries SET delivered_at = NULL"},
		{"webhook_deliveries_last_error", "UPDATE webhook_deliveries SET last_error = 'password: hunter2'"},
	} {
		if got := refusal(t, conn, names.Replace(c.sql)); got != c.rule {
			t.Errorf("%s\nis refused by %q, want %q", c.sql, got, c.rule)
		}
	}
}

// refusal is the rule that refuses a transaction, at its end at the latest.
func refusal(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	_, err := conn.Exec(t.Context(), "BEGIN;"+sql+";SET CONSTRAINTS ALL IMMEDIATE")
	rule := db.Constraint(err)
	if err != nil && rule == "" {
		t.Errorf("%s: %v", sql, err)
	}
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	return rule
}
