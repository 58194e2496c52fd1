package httpapi

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

func TestWebhookIsToldOfEvents(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	acme := w.tenant("acme")
	w.tenant("other")
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	h := w.hook("/v1/tenants/acme/webhooks", admin, `{"url":"`+r.url+`/in","actions":["key.*","tenant.updated","key.*"],"description":"mine"}`)
	if h.Status != "active" || *h.Description != "mine" || strings.Join(h.Actions, " ") != "key.* tenant.updated" {
		t.Errorf("%+v", h)
	}
	before := scalar[int64](w, "SELECT audit_seq FROM tenants WHERE slug = 'acme'")
	w.do("PATCH", "/v1/tenants/acme", admin, `{"name":"<b> & \u2028"}`).ok(200)
	w.do("POST", "/v1/tenants/acme/keys/rotate", admin, "{}").ok(200)
	w.do("POST", "/v1/tenants/other/keys/rotate", w.root, "{}").ok(200)
	w.do("POST", "/v1/tenants/acme/data-key/rotate", admin, "").ok(200)
	w.deliver()

	var history AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?order=asc", admin, "").ok(200, &history)
	var want []string
	for _, e := range history.Items[before:] {
		if strings.HasPrefix(string(e.Action), "key.") || e.Action == "tenant.updated" {
			text, _ := json.Marshal(e)
			want = append(want, string(text))
		}
	}
	got := r.take()
	if len(got) != len(want) || len(want) < 4 {
		t.Fatalf("%d deliveries, want %d", len(got), len(want))
	}
	for i, p := range got {
		if text, _ := json.Marshal(p.Event); string(text) != want[i] {
			t.Errorf("delivery %d: %s\nwant %s", i, text, want[i])
		}
		if err := w.authentic(p); err != nil {
			t.Errorf("delivery %d: %v", i, err)
		}
		if p.WebhookID != h.ID || p.Attempt != 1 || w.clock.now().Sub(p.SentAt).Abs() > time.Minute ||
			p.header.Get("Keyward-Delivery") != p.ID.String() || p.header.Get("Keyward-Event") != string(p.Event.Action) ||
			p.header.Get("Content-Type") != "application/json" || p.header.Get("Authorization") != "" {
			t.Errorf("%+v %v", p.told, p.header)
		}
	}
	for i, d := range w.deliveries("/v1/tenants/acme/webhooks/" + h.ID.String() + "/deliveries") {
		if d.ID != got[i].ID || d.Status != "delivered" || d.Attempts != 1 || *d.LastStatus != 204 || d.LastError != nil || d.NextAttemptAt != nil ||
			d.DeliveredAt == nil || d.Event.Seq != got[i].Event.Seq || d.Event.Tenant != "acme" || d.Event.Action != got[i].Event.Action {
			t.Errorf("%+v", d)
		}
	}
	w.do("GET", "/v1/tenants/acme/webhooks/"+h.ID.String(), admin, "").ok(200, &h)
	if h.LastDeliveryAt == nil {
		t.Errorf("%+v", h)
	}
	if w.deliver(); len(r.take()) != 0 {
		t.Error("something was told twice")
	}
}

// Whatever is changed about a request, its signature does not fit any more.
func TestWebhookSignatureCoversTheBody(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.tenant("acme")
	w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"`+r.url+`"}`)
	w.deliver()
	p := r.take()[0]
	if err := w.authentic(p); err != nil || p.Event.Action != "webhook.created" {
		t.Fatalf("%s: %v", p.Event.Action, err)
	}
	for _, change := range [][2]string{
		{`"attempt":1`, `"attempt":2`}, {p.WebhookID.String(), uuid.NewString()}, {"webhook.created", "webhook.deleted"}, {`{"id"`, `{ "id"`},
	} {
		tampered := p
		if tampered.body = bytes.Replace(p.body, []byte(change[0]), []byte(change[1]), 1); bytes.Equal(tampered.body, p.body) {
			t.Fatalf("%s is not in %s", change[0], p.body)
		}
		if w.authentic(tampered) == nil {
			t.Errorf("%s may be %s", change[0], change[1])
		}
	}
	other := w.do("POST", "/v1/tenants/platform/sign", w.root, `{"payload":"e30","typ":"x","detached":true}`).ok(200)
	var signed SignedPayload
	_ = json.Unmarshal(other.body, &signed)
	p.header.Set("Keyward-Signature", signed.Jws)
	if p.body = []byte("{}"); w.authentic(p) == nil {
		t.Error("something else that the platform signed passes for a delivery")
	}
}

func TestWebhookIsTriedAgain(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.tenant("acme")
	h := w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"`+r.url+`"}`)
	path := "/v1/tenants/acme/webhooks/" + h.ID.String() + "/deliveries"
	r.answers(status(500))
	w.deliver()
	first := r.take()
	d := w.deliveries(path)[0]
	if len(first) != 1 || d.Status != "pending" || d.Attempts != 1 || *d.LastStatus != 500 || *d.LastError != "refused" {
		t.Fatalf("%d requests, %+v", len(first), d)
	}
	if wait := d.NextAttemptAt.Sub(*d.LastAttemptAt); wait < 8*time.Second || wait > 15*time.Second {
		t.Errorf("tried again after %s", wait)
	}
	if w.deliver(); len(r.take()) != 0 {
		t.Error("tried again at once")
	}
	w.clock.pass(15 * time.Second)
	r.answers(nil)
	w.deliver()
	second := r.take()
	if len(second) != 1 || second[0].ID != first[0].ID || second[0].Attempt != 2 || !second[0].SentAt.After(first[0].SentAt) {
		t.Fatalf("%+v, then %+v", first, second)
	}
	if err := w.authentic(second[0]); err != nil {
		t.Error(err)
	}
	if d = w.deliveries(path)[0]; d.Status != "delivered" || d.Attempts != 2 || *d.LastStatus != 204 || d.LastError != nil {
		t.Errorf("%+v", d)
	}
	if n := scalar[int](w, "SELECT count(*) FROM webhook_deliveries d WHERE row_to_json(d)::text LIKE '%secret%'"); n != 0 {
		t.Error("what a receiver answered is stored")
	}
}

// A day of failures, and it is given up; the event can be asked for again.
func TestWebhookGivesUpAndIsAskedAgain(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.tenant("acme")
	h := w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"`+r.url+`"}`)
	path := "/v1/tenants/acme/webhooks/" + h.ID.String() + "/deliveries"
	r.answers(status(503))
	began := w.clock.now()
	var d WebhookDelivery
	for d = (WebhookDelivery{Status: "pending"}); d.Status == "pending"; d = w.deliveries(path)[0] {
		if d.NextAttemptAt != nil {
			w.clock.pass(d.NextAttemptAt.Sub(w.clock.now()) + time.Second)
		}
		w.deliver()
	}
	n := len(r.take())
	if lasted := w.clock.now().Sub(began); d.Status != "failed" || d.Attempts != n || n != 15 || lasted < 17*time.Hour || lasted > 24*time.Hour+time.Minute {
		t.Errorf("%d attempts in %s: %+v", n, lasted, d)
	}
	r.answers(nil)
	var again WebhookDelivery
	if w.do("POST", path+"/"+d.ID.String()+"/redeliver", w.root, "").ok(202, &again); again.Status != "pending" || again.Attempts != 0 {
		t.Errorf("%+v", again)
	}
	w.deliver()
	if got := r.take(); len(got) != 1 || got[0].ID != d.ID {
		t.Errorf("%+v", got)
	}
	var list WebhookDeliveryList
	if w.do("GET", path+"?status=failed", w.root, "").ok(200, &list); len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	if w.do("GET", path+"?status=delivered", w.root, "").ok(200, &list); len(list.Items) != 1 {
		t.Errorf("%+v", list)
	}
	w.do("POST", path+"/"+uuid.NewString()+"/redeliver", w.root, "").problem(ProblemCodeNotFound)
	w.do("POST", path+"/none/redeliver", w.root, "").problem(ProblemCodeNotFound)
}

func TestWebhookHeedsItsReceiver(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.tenant("acme")
	h := w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"`+r.url+`"}`)
	path := "/v1/tenants/acme/webhooks/" + h.ID.String()
	r.answers(status(429, "Retry-After", "1800"))
	w.deliver()
	d := w.deliveries(path + "/deliveries")[0]
	if wait := d.NextAttemptAt.Sub(*d.LastAttemptAt); wait < 30*time.Minute || wait > 31*time.Minute {
		t.Errorf("tried again after %s", wait)
	}
	r.take()
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"another event"}`).ok(200)
	if w.deliver(); len(r.take()) != 0 {
		t.Error("a receiver that asked for half an hour got another event")
	}
	w.clock.pass(31 * time.Minute)
	elsewhere := newReceiver(t)
	r.answers(status(307, "Location", elsewhere.url))
	w.deliver()
	if n := len(elsewhere.take()); n != 0 {
		t.Error("a redirect was followed")
	}
	for _, d := range w.deliveries(path + "/deliveries") {
		if d.Status != "pending" || *d.LastError != "redirected" || *d.LastStatus != 307 {
			t.Errorf("%+v", d)
		}
	}
	r.take()
	w.clock.pass(time.Hour)
	r.answers(status(410))
	w.deliver()
	if n := len(r.take()); n != 1 {
		t.Errorf("%d requests to one that is gone", n)
	}
	if w.do("GET", path, w.root, "").ok(200, &h); h.Status != "disabled" || *h.DisabledReason != "gone" {
		t.Errorf("%+v", h)
	}
	for _, d := range w.deliveries(path + "/deliveries") {
		if d.Status != "failed" {
			t.Errorf("%+v", d)
		}
	}
	var list AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?action=webhook.disabled", w.root, "").ok(200, &list)
	if len(list.Items) != 1 || *list.Items[0].Reason != "gone" || strings.Contains(string(list.Items[0].Details), "/in") {
		t.Errorf("%+v", list)
	}
}

func TestPlatformWebhookIsToldOfEverybody(t *testing.T) {
	w, r, own := newWorld(t), newReceiver(t), newReceiver(t)
	h := w.hook("/v1/webhooks", w.root, `{"url":"`+r.url+`","actions":["tenant.*","webhook.created"]}`)
	w.hook("/v1/tenants/platform/webhooks", w.root, `{"url":"`+own.url+`","actions":["tenant.*","webhook.created"]}`)
	w.tenant("acme")
	w.tenant("other")
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	w.deliver()
	var got []string
	for _, p := range r.take() {
		if err := w.authentic(p); err != nil {
			t.Error(err)
		}
		if p.Event.Action != "tenant.created" || p.Event.Tenant != "platform" { // from shortly before
			got = append(got, p.Event.Tenant+" "+string(p.Event.Action))
		}
	}
	want := "platform webhook.created, platform webhook.created, acme tenant.created, other tenant.created, acme tenant.deleted"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := own.take(); len(got) != 1 || got[0].Event.Action != "webhook.created" {
		t.Errorf("a webhook of the platform's own tenant was told of %+v", got)
	}
	w.do("GET", "/v1/tenants/platform/webhooks/"+h.ID.String(), w.root, "").problem(ProblemCodeNotFound)
	path := "/v1/webhooks/" + h.ID.String()
	list := w.deliveries(path + "/deliveries")
	last := list[len(list)-1]
	if last.Status != "delivered" || last.Event.Tenant != "acme" || last.Event.Action != "tenant.deleted" {
		t.Errorf("%+v", last)
	}
	w.do("POST", path+"/deliveries/"+last.ID.String()+"/redeliver", w.root, "").ok(202)
	if w.deliver(); len(r.take()) != 1 {
		t.Error("not told again of a deleted tenant's end")
	}
	w.do("PATCH", path, w.root, `{"description":"ours"}`).ok(200)
	if w.do("GET", path, w.root, "").ok(200, &h); *h.Description != "ours" {
		t.Errorf("%+v", h)
	}
	var all WebhookList
	if w.do("GET", "/v1/webhooks", w.root, "").ok(200, &all); len(all.Items) != 1 || all.Items[0].ID != h.ID {
		t.Errorf("%+v", all)
	}
}

// A deleted tenant's webhook hears of that last.
func TestWebhookEndsWithItsTenant(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	acme := w.tenant("acme")
	h := w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"`+r.url+`"}`)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	w.deliver()
	got := r.take()
	if len(got) == 0 || got[len(got)-1].Event.Action != "tenant.deleted" || got[0].Event.Action != "webhook.created" {
		t.Fatalf("%d deliveries", len(got))
	}
	e := operator.Event(w.clock.now(), "key.purged")
	if err := w.server.cfg.Audit.Append(t.Context(), acme.ID, e); err != nil {
		t.Fatal(err)
	}
	if w.deliver(); len(r.take()) != 0 {
		t.Error("told of something after the end")
	}
	w.do("GET", "/v1/tenants/acme/webhooks/"+h.ID.String(), w.root, "").problem(ProblemCodeTenantNotFound)
	w.clock.pass(31 * 24 * time.Hour)
	if err := w.webhooks.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](w, "SELECT (SELECT count(*) FROM webhooks) + (SELECT count(*) FROM webhook_deliveries)"); n != 0 {
		t.Errorf("%d rows are left after a month", n)
	}
}

func TestWebhookIsChangedAndDeleted(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	acme := w.tenant("acme")
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	h := w.hook("/v1/tenants/acme/webhooks", admin, `{"url":"`+r.url+`"}`)
	path := "/v1/tenants/acme/webhooks/" + h.ID.String()
	w.deliver()
	r.take()
	w.do("PATCH", "/v1/tenants/acme", admin, `{"name":"pending"}`).ok(200)
	if w.do("PATCH", path, admin, `{"status":"disabled"}`).ok(200, &h); h.Status != "disabled" || *h.DisabledReason != "requested" {
		t.Errorf("%+v", h)
	}
	w.do("PATCH", "/v1/tenants/acme", admin, `{"name":"missed"}`).ok(200)
	if w.deliver(); len(r.take()) != 0 {
		t.Error("told while disabled")
	}
	for _, d := range w.deliveries(path + "/deliveries") {
		w.do("POST", path+"/deliveries/"+d.ID.String()+"/redeliver", admin, "").problem(ProblemCodeConflict)
	}
	h = Webhook{}
	if w.do("PATCH", path, admin, `{"status":"active","actions":["tenant.*","webhook.updated"],"description":"again"}`).ok(200, &h); h.Status != "active" || h.DisabledReason != nil {
		t.Errorf("%+v", h)
	}
	w.do("PATCH", "/v1/tenants/acme", admin, `{"name":"told"}`).ok(200)
	w.deliver()
	if got := r.take(); len(got) != 2 || got[0].Event.Action != "webhook.updated" || !strings.Contains(string(got[1].Event.Details), `"told"`) {
		t.Errorf("%+v", got)
	}
	w.do("PATCH", path, admin, `{"actions":["tenant.exploded"]}`).problem(ProblemCodeInvalidRequest)
	w.do("PATCH", path, admin, `{"url":"https://10.0.0.1/"}`).problem(ProblemCodeInvalidRequest)
	w.do("DELETE", path, admin, "").ok(204)
	w.do("DELETE", path, admin, "").problem(ProblemCodeNotFound)
	w.do("GET", path+"/deliveries", admin, "").problem(ProblemCodeNotFound)
	w.do("PATCH", path, admin, "{}").problem(ProblemCodeNotFound)
	if w.deliver(); len(r.take()) != 0 {
		t.Error("told after its end")
	}
	if n := scalar[int](w, "SELECT count(*) FROM webhooks WHERE url IS NOT NULL"); n != 0 {
		t.Error("the URL of a deleted webhook is kept")
	}
	if err := w.webhooks.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](w, "SELECT (SELECT count(*) FROM webhooks) + (SELECT count(*) FROM webhook_deliveries)"); n != 0 {
		t.Errorf("%d rows are left of a deleted webhook", n)
	}
	var v AuditVerification
	if w.do("GET", "/v1/tenants/acme/audit/verify", admin, "").ok(200, &v); !v.Intact {
		t.Errorf("%+v", v)
	}
}

func TestWebhooksOfOthersDoNotExist(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.tenant("acme")
	other := w.tenant("other")
	h := w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"`+r.url+`"}`)
	all := w.hook("/v1/webhooks", w.root, `{"url":"`+r.url+`"}`)
	w.deliver()
	foreign := w.key(tenant.TenantAdmin, &other.ID)
	d := w.deliveries("/v1/tenants/acme/webhooks/" + h.ID.String() + "/deliveries")[0]
	for _, id := range []uuid.UUID{h.ID, all.ID} {
		w.do("GET", "/v1/tenants/acme/webhooks/"+id.String(), foreign, "").problem(ProblemCodeTenantNotFound)
		mine := "/v1/tenants/other/webhooks/" + id.String()
		w.do("GET", mine, foreign, "").problem(ProblemCodeNotFound)
		w.do("PATCH", mine, foreign, `{"status":"disabled"}`).problem(ProblemCodeNotFound)
		w.do("GET", mine+"/deliveries", foreign, "").problem(ProblemCodeNotFound)
		w.do("POST", mine+"/deliveries/"+d.ID.String()+"/redeliver", foreign, "").problem(ProblemCodeNotFound)
		w.do("DELETE", mine, foreign, "").problem(ProblemCodeNotFound)
	}
	w.do("GET", "/v1/webhooks/"+h.ID.String(), w.root, "").problem(ProblemCodeNotFound)
	w.do("GET", "/v1/webhooks/"+all.ID.String(), foreign, "").problem(ProblemCodeForbidden)
	var list WebhookList
	if w.do("GET", "/v1/tenants/other/webhooks", foreign, "").ok(200, &list); len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestWebhookThatIsNoneIsRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	before := w.rows()
	for _, raw := range []string{
		"", "hooks.example.com", "ftp://hooks.example.com", "https:///x", "https://user:pw@hooks.example.com", "https://hooks.example.com/#x",
		"https://hooks.example.com:0/", "https://hooks.example.com:99999/", "https://hooks.example.com:/", "https://hooks.example.com/\n", "https:hooks",
		"https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[fd00::1]/", "https://[fe80::1%25eth0]/",
		"https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://127.1/", "https://0177.0.0.1/", "https://127.0.0.1./", "http://192.0.2.1/", "http://93.184.215.14/",
		"https://" + strings.Repeat("a", 2000) + ".example",
	} {
		body, _ := json.Marshal(map[string]string{"url": raw})
		p := w.do("POST", "/v1/tenants/acme/webhooks", w.root, string(body)).problem(ProblemCodeInvalidRequest)
		if len(p.Errors) != 1 || p.Errors[0].Field != "url" {
			t.Errorf("%q: %+v", raw, p)
		}
	}
	for _, body := range []string{
		`{"url":"https://x.example","actions":["key.revokd"]}`, `{"url":"https://x.example","actions":["*"]}`, `{"url":"https://x.example","actions":["keys.*"]}`,
		`{"url":"https://x.example","secret":"x"}`, `{"url":"https://x.example","description":"` + strings.Repeat("x", 201) + `"}`, `{"actions":[]}`,
		`{"url":"https://x.example","status":"active"}`,
	} {
		w.do("POST", "/v1/tenants/acme/webhooks", w.root, body).problem(ProblemCodeInvalidRequest)
	}
	w.do("GET", "/v1/tenants/acme/webhooks?cursor=x", w.root, "").problem(ProblemCodeInvalidRequest)
	if after := w.rows(); after != before || scalar[int](w, "SELECT count(*) FROM webhooks") != 0 {
		t.Error("something changed")
	}
}

func TestWebhookIsMadeOnce(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.tenant("acme")
	for _, path := range []string{"/v1/tenants/acme/webhooks", "/v1/webhooks"} {
		body := `{"url":"` + r.url + `"}`
		var first, second Webhook
		a := w.do("POST", path, w.root, body, "Idempotency-Key", "k"+path).ok(201, &first)
		w.do("POST", path, w.root, body, "Idempotency-Key", "k"+path).ok(201, &second)
		if first.ID != second.ID || a.Header.Get("Location") != path+"/"+first.ID.String() {
			t.Errorf("%s, then %s; %s", first.ID, second.ID, a.Header.Get("Location"))
		}
		w.do("POST", path, w.root, `{"url":"`+r.url+`/x"}`, "Idempotency-Key", "k"+path).problem(ProblemCodeConflict)
		w.do("DELETE", path+"/"+first.ID.String(), w.root, "").ok(204)
		if w.do("POST", path, w.root, body, "Idempotency-Key", "k"+path).ok(201, &second); first.ID != second.ID { // as the first time
			t.Errorf("%s, and %s after its deletion", first.ID, second.ID)
		}
		for n := range 20 {
			w.hook(path, w.root, `{"url":"`+r.url+`/`+strconv.Itoa(n)+`"}`)
		}
		w.do("POST", path, w.root, body).problem(ProblemCodeConflict)
		var list WebhookList
		w.do("GET", path+"?limit=15", w.root, "").ok(200, &list)
		seen := len(list.Items)
		w.do("GET", path+"?cursor="+url.QueryEscape(*list.NextCursor), w.root, "").ok(200, &list)
		if seen += len(list.Items); seen != 20 || list.NextCursor != nil && len(list.Items) != 5 {
			t.Errorf("%d webhooks on two pages", seen)
		}
	}
}
