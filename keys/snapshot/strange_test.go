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
	"github.com/keyward/keyward/tenant"
)

// Names that nobody has are forgotten, and asking for them takes few connections.
func TestStrangeDomainsAreBounded(t *testing.T) {
	cache, _ := newCache(t, func(cfg *Config) { cfg.MaxBytes = domainShare * 4096 })
	for i := range 200 {
		if _, _, err := cache.OfDomain(t.Context(), fmt.Sprintf("h%d.example", i)); !errors.Is(err, tenant.ErrNotFound) {
			t.Fatal(err)
		}
	}
	cache.domains.CleanUp()
	if n := cache.domains.EstimatedSize(); n > 4096/256 {
		t.Errorf("%d strange domains are remembered", n)
	}
	for range maxAsking {
		cache.asking <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := cache.OfDomain(ctx, "another.example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a question did not wait for its turn: %v", err)
	}
}

// newCache returns a cache of an empty database, which hears of every change,
// and the address of the database.
func newCache(t *testing.T, change func(*Config)) (cache *Cache, dsn string) {
	t.Helper()
	dsn = dbtest.New(t)
	d, err := db.Open(t.Context(), db.Config{URL: dsn, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	cfg := Config{DB: d, PublicURL: "https://keys.example", Now: time.Now, HeardUntil: time.Now, Log: slog.New(slog.DiscardHandler)}
	change(&cfg)
	return New(cfg), dsn
}
