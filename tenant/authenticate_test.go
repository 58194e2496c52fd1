package tenant_test

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

func TestAuthenticateRefuses(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id, gone := w.tenant(t, "acme"), w.tenant(t, "gone")
	k, key := w.key(t, &id, tenant.TenantAdmin)
	_, other := w.key(t, &id, tenant.TenantAdmin)
	_, late := w.key(t, &gone, tenant.TenantAdmin)
	w.delete(t, gone)
	i := strings.LastIndex(key, "_") + 1
	for name, bearer := range map[string]string{
		"nothing":             "",
		"no key":              "Bearer " + key,
		"another's secret":    key[:i] + other[i:],
		"another's id":        other[:i] + key[i:],
		"no such id":          "kw_" + strings.ReplaceAll(uuid.NewString(), "-", "") + "_" + key[i:],
		"upper case":          strings.ToUpper(key),
		"cut":                 key[:len(key)-1],
		"longer":              key + "a",
		"newline":             key + "\n",
		"NUL":                 key[:len(key)-1] + "\x00",
		"a megabyte":          strings.Repeat(key, 10_000),
		"of a deleted tenant": late,
	} {
		for range 2 { // the second time perhaps from memory
			if p, err := w.Authenticate(t.Context(), bearer); !errors.Is(err, tenant.ErrUnauthenticated) || p != (tenant.Principal{}) {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
		}
	}
	if p, err := w.Authenticate(t.Context(), key); err != nil || p.Actor.ID != k.ID.String() {
		t.Errorf("%+v, %v", p, err)
	}
	if kept := w.Kept(); kept > 2 {
		t.Errorf("guesses fill memory: %d entries", kept)
	}
	w.update(t, id, tenant.Change{Status: tenant.Some(tenant.Suspended)})
	w.Invalidate()
	if _, err := w.Authenticate(t.Context(), key); err != nil {
		t.Errorf("of a suspended tenant: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	w := worldAt(t, "postgres://nowhere.invalid/")
	w.Flood(tenant.Cached + 100)
	if kept := w.Kept(); kept != tenant.Cached {
		t.Errorf("%d entries, want %d", kept, tenant.Cached)
	}
}

// A slow read that began before a change does not bring back what was there.
func TestReadOvertakenByAChange(t *testing.T) {
	w := worldAt(t, "postgres://nowhere.invalid/")
	home, key := uuid.New(), uuid.New()
	for _, c := range []struct {
		name   string
		change func()
		kept   bool
	}{
		{"nothing", func() {}, true},
		{"another tenant", func() { w.Changed(uuid.New()) }, true},
		{"this tenant", func() { w.Changed(home) }, false},
		{"anything", w.Invalidate, false},
	} {
		if got := w.ReadDuring(key, home, c.change); got != c.kept {
			t.Errorf("%s changed: kept %v", c.name, got)
		}
	}
}

// While PostgreSQL is away, what is in memory serves for its lifetime.
func TestAuthenticateWithoutPostgreSQL(t *testing.T) {
	server := dbtest.NewServer(t)
	w := worldAt(t, server.DSN())
	id := w.tenant(t, "acme")
	_, warm := w.key(t, &id, tenant.TenantAdmin)
	_, cold := w.key(t, &id, tenant.TenantAdmin)
	if _, err := w.Authenticate(t.Context(), warm); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	w.pass(30 * time.Second)
	if _, err := w.Authenticate(t.Context(), warm); err != nil {
		t.Errorf("from memory: %v", err)
	}
	if _, err := w.Authenticate(t.Context(), cold); !errors.Is(err, tenant.ErrUnavailable) {
		t.Errorf("not in memory: %v", err)
	}
	if err := w.FlushLastUsed(t.Context()); !errors.Is(err, tenant.ErrUnavailable) {
		t.Errorf("flush: %v", err)
	}
	w.pass(time.Microsecond)
	if _, err := w.Authenticate(t.Context(), warm); !errors.Is(err, tenant.ErrUnavailable) {
		t.Errorf("beyond its lifetime: %v", err)
	}
	server.Start()
	if _, err := w.Authenticate(t.Context(), cold); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := w.FlushLastUsed(t.Context()); err != nil {
		t.Errorf("flush afterwards: %v", err)
	}
	if keys, _, err := w.ListAPIKeys(t.Context(), &id, 0, ""); err != nil || keys[1].LastUsedAt == nil || !keys[1].LastUsedAt.Equal(noon.Add(30*time.Second)) {
		t.Errorf("a failed flush lost what it held: %+v, %v", keys, err)
	}
}

// A key revoked on one process is refused by another as soon as it hears.
func TestRevocationReachesOtherProcesses(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id := w.tenant(t, "acme")
	replica := worldAt(t, w.url)
	heard, listening := make(chan uuid.UUID, 100), make(chan struct{})
	l := db.Listener{
		URL: w.url, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Changed:   func(id uuid.UUID, _ string) { replica.Changed(id); heard <- id },
		Connected: func() { replica.Invalidate(); close(listening) },
	}
	go l.Run(t.Context())
	<-listening
	for _, tenantID := range []*uuid.UUID{&id, nil} {
		role := tenant.TenantAdmin
		if tenantID == nil {
			role = tenant.PlatformAdmin
		}
		k, key := w.key(t, tenantID, role)
		<-heard
		if _, err := replica.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := w.RevokeAPIKey(t.Context(), somebody, tenantID, k.ID, false); err != nil {
			t.Fatal(err)
		}
		<-heard
		if _, err := replica.Authenticate(t.Context(), key); !errors.Is(err, tenant.ErrUnauthenticated) {
			t.Errorf("%s: %v", role, err)
		}
	}
}

func TestLastUse(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	_, key := w.key(t, &id, tenant.TenantAdmin)
	last := func() *time.Time {
		if err := w.FlushLastUsed(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys, _, err := w.ListAPIKeys(t.Context(), &id, 0, "")
		if err != nil {
			t.Fatal(err)
		}
		return keys[0].LastUsedAt
	}
	if at := last(); at != nil {
		t.Errorf("never used: %v", at)
	}
	for range 3 {
		w.pass(time.Second)
		if _, err := w.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(time.Hour)
	for range 2 {
		if at := last(); at == nil || !at.Equal(noon.Add(3*time.Second)) {
			t.Errorf("last used %v", at)
		}
	}
	if got := w.events(t, id); len(got) != 2 {
		t.Errorf("use is no event: %v", actions(got))
	}
}

func TestFlushesAtOnce(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	var keys []string
	for range 20 {
		_, key := w.key(t, &id, tenant.TenantAdmin)
		keys = append(keys, key)
	}
	var flushes sync.WaitGroup
	for range 4 {
		replica := worldAt(t, w.url)
		flushes.Go(func() {
			for range 10 {
				for _, key := range keys {
					if _, err := replica.Authenticate(t.Context(), key); err != nil {
						t.Error(err)
					}
				}
				if err := replica.FlushLastUsed(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	flushes.Wait()
}
