package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/tenant"
)

// Unknown domains take little memory and few connections.
func TestUnknownDomainsAreBounded(t *testing.T) {
	cache, _ := newCache(t, func(cfg *Config) { cfg.MaxBytes = domainShare * 4096 })
	for i := range 150 {
		if _, _, err := cache.OfDomain(t.Context(), fmt.Sprintf("h%d.example", i)); !errors.Is(err, tenant.ErrNotFound) {
			t.Fatal(err)
		}
	}
	cache.domains.CleanUp()
	if n := cache.domains.EstimatedSize(); n > 4096/256 {
		t.Errorf("%d unknown domains are cached", n)
	}
	for range maxDomainLoads {
		if _, err := cache.coldDomains.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := cache.OfDomain(ctx, "another.example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the load did not wait in the queue: %v", err)
	}
}

// newCache returns a cache of an empty database that counts every change as
// notified, and the database's address.
func newCache(t *testing.T, change func(*Config)) (cache *Cache, dsn string) {
	t.Helper()
	dsn = dbtest.New(t)
	d, err := db.Open(t.Context(), db.Config{URL: dsn, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	cfg := Config{DB: d, PublicURL: "https://keys.example", Now: time.Now, HeardUntil: age.Now, Log: slog.New(slog.DiscardHandler)}
	change(&cfg)
	return New(cfg), dsn
}
