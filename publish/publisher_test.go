package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys/snapshot"
)

// The text of an error is what PostgreSQL takes, and 300 characters at most.
func TestShortenError(t *testing.T) {
	for text, want := range map[string]string{
		"access denied": "access denied", "a\x00b": "a\uFFFDb", "gr\xfcn": "gr\uFFFDn", "\xff\xfe\x00": "\uFFFD\uFFFD",
		strings.Repeat("é", 300): strings.Repeat("é", 300), strings.Repeat("é", 301): strings.Repeat("é", 299) + "…",
	} {
		if got := ShortenError(errors.New(text)); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

var somebody = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "1000", Name: "somebody"}}

// world is a database of tenants, whose versions are their documents.
type world struct {
	t     *testing.T
	url   string
	db    *db.DB
	audit *audit.Store
	feed  *snapshot.Cache
	fails sync.Map // ids of tenants that cannot be rendered
}

func newWorld(t *testing.T) *world {
	t.Helper()
	url := dbtest.New(t)
	d, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return &world{
		t: t, url: url, db: d, audit: audit.New(audit.Config{DB: d, Now: utcNow}),
		feed: snapshot.New(snapshot.Config{DB: d, Now: utcNow, Log: slog.New(slog.DiscardHandler), HeardUntil: func() age.Instant { return age.Read(utcNow) }}),
	}
}

func utcNow() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// tenant makes a tenant with its first event.
func (w *world) tenant(slug string) uuid.UUID {
	w.t.Helper()
	id, now := uuid.Must(uuid.NewV7()), utcNow()
	head, events := audit.Chain(audit.Genesis(id), []audit.Event{somebody.Event(now, audit.TenantCreated)})
	w.must(w.db.AsPlatform(w.t.Context(), func(tx *db.Tx) error {
		err := tx.InsertTenant(w.t.Context(), db.InsertTenantParams{ID: id, Slug: slug, AuditSeq: head.Seq, AuditHash: head.Hash, CreatedAt: now})
		if err != nil {
			return err
		}
		return tx.InsertAuditEvents(w.t.Context(), db.InsertAuditEventsParams(audit.ToColumns(events)))
	}))
	return id
}

// change appends an event to a tenant's history and returns its seq.
func (w *world) change(id uuid.UUID) int64 {
	w.t.Helper()
	w.must(w.audit.Append(w.t.Context(), id, somebody.Event(utcNow(), audit.TenantUpdated)))
	dbtest.Exec(w.t, w.url, `UPDATE tenants SET feed_xid = pg_current_xact_id() WHERE id = $1`, id)
	return w.seq(id)
}

func (w *world) seq(id uuid.UUID) (seq int64) {
	w.t.Helper()
	w.must(w.db.AsPlatform(w.t.Context(), func(tx *db.Tx) error {
		row, err := tx.PublicationOf(w.t.Context(), "file:///", id)
		seq = row.AuditSeq
		return err
	}))
	return seq
}

// publisher starts one process's.
func (w *world) publisher(s Store, change ...func(*Config)) *Publisher {
	w.t.Helper()
	cfg := Config{
		DB: w.db, Store: s, Feed: w.feed.Fleet, Leads: func() bool { return true }, Now: utcNow, Log: slog.New(slog.DiscardHandler),
		Paths: func(slug string) []string { return []string{pathOf(slug)} },
		Render: func(_ context.Context, id uuid.UUID, slug string, atLeast int64) (Content, error) {
			if _, fails := w.fails.Load(id); fails {
				return Content{}, errors.New("cannot be rendered")
			}
			return Content{Version: atLeast, RefreshAt: utcNow().Add(time.Hour), Objects: []Object{{Path: pathOf(slug), Body: fmt.Appendf(nil, "%d", atLeast)}}}, nil
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	p := New(cfg)
	ctx, stop := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	w.t.Cleanup(func() {
		stop()
		<-ended
	})
	return p
}

func pathOf(slug string) string { return "t/" + slug + "/jwks.json" }

// shows waits until the store has a version of a tenant.
func (w *world) shows(p place, slug string, version int64) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%s has version %d", slug, version), func() bool {
		body, _ := p.read(pathOf(slug))
		return body == fmt.Sprint(version)
	})
}

// Every tenant is published, each change follows, and a process that starts later goes on
// where the last one was.
func TestEveryChangeIsPublished(t *testing.T) {
	w := newWorld(t)
	p := inDirectory(t, t.TempDir())
	ids := map[string]uuid.UUID{}
	for i := range feedPage + 30 { // more than a page
		slug := fmt.Sprintf("t%d", i)
		ids[slug] = w.tenant(slug)
	}
	first := w.publisher(p)
	for slug := range ids {
		w.shows(p, slug, 1)
	}
	seq := w.change(ids["t7"])
	first.Changed(ids["t7"])
	w.shows(p, "t7", seq)
	seq = w.change(ids["t8"]) // its notification is lost
	first.Missed()
	w.shows(p, "t8", seq)
	eventually(t, "all is recorded", func() bool {
		lag, err := first.Lag(t.Context(), 10)
		return err == nil && lag.Unpublished == 0 && !lag.CaughtUpAt.IsZero()
	})
	writes, _ := first.Stats()
	second := w.publisher(p)
	seq = w.change(ids["t9"])
	second.Changed(ids["t9"])
	w.shows(p, "t9", seq)
	if again, _ := second.Stats(); again > writes/2 {
		t.Errorf("%d tenants were published again after a restart", again)
	}
}

// What fails of one tenant holds up no other, is visible, and is repeated until it works.
func TestATenantThatFailsHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	p := inDirectory(t, t.TempDir())
	bad, good := w.tenant("bad"), w.tenant("good")
	w.fails.Store(bad, true)
	pub := w.publisher(p)
	w.shows(p, "good", 1)
	seq := w.change(good)
	pub.Changed(good)
	w.shows(p, "good", seq)
	eventually(t, "the failure is recorded", func() bool {
		lag, err := pub.Lag(t.Context(), 10)
		return err == nil && lag.Unpublished == 1 && lag.First[0].Slug == "bad" && strings.Contains(lag.First[0].Error, "cannot be rendered") && lag.Age(utcNow().Add(time.Minute)) > 30*time.Second
	})
	w.fails.Delete(bad)
	w.shows(p, "bad", 1)
	eventually(t, "nothing lags", func() bool {
		lag, err := pub.Lag(t.Context(), 10)
		return err == nil && lag.Unpublished == 0
	})
}

// A store that answers nothing for one tenant leaves lanes for the others.
func TestAStoreThatIsSlowWithOneTenant(t *testing.T) {
	w := newWorld(t)
	fake := newFakeBucket(t)
	p := inBucket(t, fake.URL)
	slow, good := w.tenant("slow"), w.tenant("good")
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	var held atomic.Int32
	fake.hinders(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/slow") {
			held.Add(1)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		return false
	})
	pub := w.publisher(p)
	pub.Changed(slow)
	eventually(t, "the slow one is under way", func() bool { return held.Load() > 0 })
	for range 3 {
		seq := w.change(good)
		pub.Changed(slow)
		pub.Changed(good)
		w.shows(p, "good", seq)
	}
}

// During an outage of the store attempts are few, and everything is published afterwards:
// the latest state alone.
func TestAnOutageOfTheStore(t *testing.T) {
	w := newWorld(t)
	fake := newFakeBucket(t)
	p := inBucket(t, fake.URL)
	ids := map[string]uuid.UUID{}
	for i := range 40 {
		slug := fmt.Sprintf("t%d", i)
		ids[slug] = w.tenant(slug)
	}
	var asked atomic.Int32
	fake.hinders(func(rw http.ResponseWriter, _ *http.Request) bool {
		asked.Add(1)
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	pub := w.publisher(p)
	eventually(t, "the outage is noticed", func() bool {
		_, failures := pub.Stats()
		return failures >= failuresOfOutage
	})
	latest := map[string]int64{}
	for slug, id := range ids {
		w.change(id)
		latest[slug] = w.change(id)
		pub.Changed(id)
	}
	if n := asked.Load(); n > 40 {
		t.Errorf("%d requests during an outage", n)
	}
	fake.hinders(nil)
	for slug, seq := range latest {
		w.shows(p, slug, seq)
	}
}

// Two that lead at once, with views of their own of the present, leave the newest.
func TestTwoLeaders(t *testing.T) {
	w := newWorld(t)
	p := inDirectory(t, t.TempDir())
	id := w.tenant("acme")
	late := func(c *Config) {
		render := c.Render
		c.Render = func(ctx context.Context, id uuid.UUID, slug string, atLeast int64) (Content, error) {
			time.Sleep(rand.N(20 * time.Millisecond)) // the other one has put a newer state meanwhile
			return render(ctx, id, slug, atLeast)
		}
	}
	one, two := w.publisher(p), w.publisher(p, late)
	var seq int64
	for range 20 {
		seq = w.change(id)
		two.Changed(id)
		one.Changed(id)
	}
	w.shows(p, "acme", seq)
	w.must(p.Put(t.Context(), "acme", Order{0, id, seq}, []Object{{Path: pathOf("acme"), Body: fmt.Append(nil, seq)}}))
	if err := p.Put(t.Context(), "acme", Order{0, id, seq - 1}, nil); !errors.Is(err, ErrSuperseded) {
		t.Errorf("%v", err)
	}
}

// A signature that is about to expire is replaced without a change.
func TestADocumentIsRefreshed(t *testing.T) {
	w := newWorld(t)
	p := inDirectory(t, t.TempDir())
	w.tenant("acme")
	var ahead atomic.Int64
	pub := w.publisher(p, func(c *Config) {
		c.Now = func() time.Time { return utcNow().Add(time.Duration(ahead.Load())) }
	})
	w.shows(p, "acme", 1)
	eventually(t, "it is recorded", func() bool {
		lag, err := pub.Lag(t.Context(), 1)
		return err == nil && !lag.CaughtUpAt.IsZero()
	})
	before, _ := pub.Stats()
	ahead.Store(int64(2 * time.Hour))
	pub.Missed()
	eventually(t, "it is published again", func() bool {
		after, _ := pub.Stats()
		return after > before
	})
}

// The memory of notified changes is bounded.
func TestNotifiedTenantsAreBounded(t *testing.T) {
	p := New(Config{Leads: func() bool { return true }})
	for range 2 * maxNotified {
		p.Changed(uuid.New())
	}
	if n := len(p.notified); n > maxNotified {
		t.Errorf("%d are kept", n)
	}
	var none *Publisher
	none.Changed(uuid.New())
	none.Missed()
}

// A directory that vanishes, as a disk that is not mounted, is an outage like others.
func TestADirectoryThatComesBack(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	p := inDirectory(t, dir)
	w.must(os.Remove(dir))
	w.tenant("acme")
	pub := w.publisher(p)
	eventually(t, "it fails", func() bool {
		_, failures := pub.Stats()
		return failures > 0
	})
	w.must(mkdir(dir))
	w.shows(p, "acme", 1)
}
