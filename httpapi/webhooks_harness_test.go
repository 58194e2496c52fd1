package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/webhook"
)

// newSender is a sender that signs as the platform.
func (w *world) newSender(log *slog.Logger) *webhook.Sender {
	return webhook.NewSender(webhook.SenderConfig{
		Store: w.webhooks, Audit: w.server.cfg.Audit, By: operator, Render: RenderEvent, Log: log,
		Signer: EventSigner{Snapshots: w.snapshots, Signer: w.signer, PublicURL: w.server.cfg.PublicURL},
	})
}

// deliver posts all that is due.
func (w *world) deliver() {
	w.t.Helper()
	if err := w.sender.Once(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// hook makes a webhook through the API.
func (w *world) hook(path, key, body string) Webhook {
	w.t.Helper()
	var h Webhook
	w.do("POST", path, key, body).ok(201, &h)
	return h
}

// deliveries lists those of a webhook, oldest first.
func (w *world) deliveries(path string) (list []WebhookDelivery) {
	w.t.Helper()
	for cursor := ""; ; {
		var page WebhookDeliveryList
		w.do("GET", path+"?limit=3"+cursor, w.root, "").ok(200, &page)
		for _, d := range page.Items {
			list = append([]WebhookDelivery{d}, list...)
		}
		if page.NextCursor == nil {
			return list
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

// posted is a request that a receiver got.
type posted struct {
	header http.Header
	body   []byte
	told
}

// told is what a receiver reads.
type told struct {
	ID        uuid.UUID  `json:"id"`
	WebhookID uuid.UUID  `json:"webhook_id"`
	Attempt   int        `json:"attempt"`
	SentAt    time.Time  `json:"sent_at"`
	Event     AuditEvent `json:"event"`
}

// receiver is somebody's server; answer says what it does, nothing means 204.
type receiver struct {
	t   testing.TB
	url string

	mu     sync.Mutex
	got    []posted
	answer func(w http.ResponseWriter, p posted)
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

// ServeHTTP keeps a request and answers it.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	p := posted{header: req.Header}
	var err error
	if p.body, err = io.ReadAll(req.Body); err == nil {
		err = json.Unmarshal(p.body, &p.told)
	}
	if err != nil || req.Method != "POST" {
		r.t.Errorf("%s %v", req.Method, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, p)
	if r.answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	r.answer(w, p)
}

// take returns what has come since the last time.
func (r *receiver) take() []posted {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func (r *receiver) answers(answer func(w http.ResponseWriter, p posted)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func status(code int, headers ...string) func(http.ResponseWriter, posted) {
	return func(w http.ResponseWriter, _ posted) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, "a receiver's secret")
	}
}

// authentic checks a request as a receiver does, with the platform's JWK Set.
func (w *world) authentic(p posted) error {
	w.t.Helper()
	var set jose.JSONWebKeySet
	w.do("GET", "/.well-known/jwks.json", "", "").ok(200, &set)
	jws, err := jose.ParseDetached(p.header.Get("Keyward-Signature"), p.body, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	protected := jws.Signatures[0].Protected
	if typ := protected.ExtraHeaders[jose.HeaderType]; typ != "keyward-webhook+jws" {
		return fmt.Errorf("typ %v", typ)
	}
	found := set.Key(protected.KeyID)
	if len(found) != 1 {
		return fmt.Errorf("%d keys %s", len(found), protected.KeyID)
	}
	return jws.DetachedVerify(p.body, found[0])
}
