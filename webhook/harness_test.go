package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

var somebody = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "1000", Name: "somebody"}}

// world is a database with the platform's own tenant.
type world struct {
	t     *testing.T
	url   string
	db    *db.DB
	audit *audit.Store
	store *Store

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, url: dbtest.New(t), now: noon}
	d, err := db.Open(t.Context(), db.Config{URL: w.url, MaxConns: 12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	dbtest.MoveTime(t, w.url)
	w.db, w.audit = d, audit.New(audit.Config{DB: d, Now: w.clock})
	w.store = NewStore(Config{DB: d, Now: w.clock, Allow: loopback})
	w.tenant("platform")
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// tenant makes a tenant with its first event.
func (w *world) tenant(slug string) uuid.UUID {
	w.t.Helper()
	id := uuid.Must(uuid.NewV7())
	head, events := audit.Chain(audit.Genesis(id), []audit.Event{somebody.Event(noon, audit.TenantCreated)})
	w.must(w.db.AsPlatform(w.t.Context(), func(tx *db.Tx) error {
		err := tx.InsertTenant(w.t.Context(), db.InsertTenantParams{ID: id, Slug: slug, AuditSeq: head.Seq, AuditHash: head.Hash, CreatedAt: noon})
		if err != nil {
			return err
		}
		return tx.InsertAuditEvents(w.t.Context(), db.InsertAuditEventsParams(audit.ToColumns(events)))
	}))
	return id
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// happens appends events to a tenant's history.
func (w *world) happens(id uuid.UUID, n int) {
	w.t.Helper()
	for range n {
		w.must(w.audit.Append(w.t.Context(), id, somebody.Event(w.clock(), audit.AuthorizationDenied)))
	}
}

// hook makes a webhook of a tenant, or of the platform, for denied attempts.
func (w *world) hook(of *uuid.UUID, url string) Webhook {
	w.t.Helper()
	h, err := w.store.Create(w.t.Context(), somebody, New{TenantID: of, URL: url, Actions: []string{string(audit.AuthorizationDenied)}})
	w.must(err)
	return h
}

// sender is one process's.
func (w *world) sender() *Sender {
	return NewSender(SenderConfig{
		Store: w.store, Audit: w.audit, By: somebody,
		Render: func(e audit.Event) (json.RawMessage, error) {
			return json.RawMessage(fmt.Sprintf(`{"tenant":%q,"seq":%d,"action":%q}`, e.Tenant, e.Seq, e.Action)), nil
		},
		Signer: signer{},
	})
}

// signer signs nothing, or cannot.
type signer struct {
	Signer
	err error
}

func (s signer) Sign(context.Context, []byte) (string, error) { return "a signature", s.err }

func (w *world) once(s *Sender) {
	w.t.Helper()
	w.must(s.Once(w.t.Context()))
}

// sink is a receiver that keeps what it is told, by webhook.
type sink struct {
	url string

	mu    sync.Mutex
	told  []sunk
	asked chan struct{}
}

type sunk struct {
	ID        uuid.UUID `json:"id"`
	WebhookID uuid.UUID `json:"webhook_id"`
	Event     struct {
		Tenant string
		Seq    int64
	} `json:"event"`
}

func newSink(t *testing.T) *sink {
	k := &sink{asked: make(chan struct{}, 10_000)}
	s := httptest.NewServer(k)
	t.Cleanup(s.Close)
	k.url = s.URL
	return k
}

// ServeHTTP keeps what it is told.
func (k *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b sunk
	_ = json.NewDecoder(r.Body).Decode(&b)
	k.mu.Lock()
	k.told = append(k.told, b)
	k.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	k.asked <- struct{}{}
}

func (k *sink) take() []sunk {
	k.mu.Lock()
	defer k.mu.Unlock()
	told := k.told
	k.told = nil
	return told
}
