package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// growthGoal is the most that anything may cost with many tenants beside its
// cost with few.
const growthGoal = 1.3

// population is a platform with so many seeded tenants.
type population struct {
	*platform
	tenants int
	bytes   int64 // of the database, before anything is done in it
	audit   *audit.Store
	took    map[string][]time.Duration
}

// BenchmarkGrowth prints what operations cost with few tenants and with more
// and more, in turns, so that whatever else the machine does hits all alike. The
// sizes are those of KEYWARD_GROWTH, 1000,20000 by default. To measure databases
// that keyward bench seed has filled, name them in KEYWARD_GROWTH_URLS, separated
// by spaces, and their master key in KEYWARD_MASTER_KEY. KEYWARD_GROWTH_PLOT
// names the SVG picture to draw.
func BenchmarkGrowth(b *testing.B) {
	all := populations(b)
	turns := 300
	for _, o := range operations {
		for i := range turns + 20 {
			for _, p := range all {
				began := time.Now()
				if err := o.run(b.Context(), p); err != nil {
					b.Fatalf("%s with %d tenants: %v", o.name, p.tenants, err)
				}
				if i >= 20 { // connections and their plans are warm
					p.took[o.name] = append(p.took[o.name], time.Since(began))
				}
			}
		}
	}
	table(all)
	if file := os.Getenv("KEYWARD_GROWTH_PLOT"); file != "" {
		plot(b, file, all)
	}
}

func table(all []*population) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprint(w, "median, µs\t")
	for _, p := range all {
		fmt.Fprintf(w, "%d tenants\t", p.tenants)
	}
	fmt.Fprintln(w, "last by first\tgoal")
	for _, o := range operations {
		fmt.Fprintf(w, "%s\t", o.name)
		for _, p := range all {
			fmt.Fprintf(w, "%d\t", p.median(o.name).Microseconds())
		}
		ratio := float64(all[len(all)-1].median(o.name)) / float64(all[0].median(o.name))
		fmt.Fprintf(w, "%.2f\t%.1f\n", ratio, growthGoal)
	}
	fmt.Fprint(w, "database, B a tenant\t")
	for _, p := range all {
		fmt.Fprintf(w, "%d\t", p.bytes/int64(p.tenants))
	}
	fmt.Fprintln(w)
}

func (p *population) median(operation string) time.Duration {
	return percentile(p.took[operation], 0.5)
}

func populations(b *testing.B) (all []*population) {
	sizes := strings.Split(os.Getenv("KEYWARD_GROWTH"), ",")
	if sizes[0] == "" {
		sizes = []string{"1000", "20000"}
	}
	urls, uri := strings.Fields(os.Getenv("KEYWARD_GROWTH_URLS")), os.Getenv("KEYWARD_MASTER_KEY")
	if len(sizes) < 2 || len(urls) != 0 && len(urls) != len(sizes) {
		b.Fatal("KEYWARD_GROWTH must be two numbers or more, as in 10000,1000000; KEYWARD_GROWTH_URLS as many URLs of databases with so many tenants")
	}
	for i, size := range sizes {
		n, err := strconv.Atoi(size)
		if err != nil {
			b.Fatal(err)
		}
		if len(urls) > 0 {
			all = append(all, newPopulation(b, openPlatform(b, urls[i], uri), n))
			continue
		}
		p := openPlatform(b, dbtest.New(b), newMaster(b))
		seed := moves.Seed{Tenants: n, Keys: 4, Events: 12, Prefix: "bench"}
		if err := seed.Write(b.Context(), p.store, operator, func(moves.SeedProgress) {}); err != nil {
			b.Fatal(err)
		}
		all = append(all, newPopulation(b, p, n))
	}
	return all
}

func newPopulation(b *testing.B, p *platform, n int) *population {
	b.Helper()
	all := &population{platform: p, tenants: n, audit: audit.New(audit.Config{DB: p.db, Now: p.now}), took: map[string][]time.Duration{}}
	if err := barePool(b, p.dsn).QueryRow(b.Context(), "SELECT pg_database_size(current_database())").Scan(&all.bytes); err != nil {
		b.Fatal(err)
	}
	return all
}

func newMaster(b *testing.B) string {
	uri := "file:" + filepath.Join(b.TempDir(), "master.json")
	if _, err := seal.Init(b.Context(), uri); err != nil {
		b.Fatal(err)
	}
	return uri
}

// anyone is a random tenant.
func (p *population) anyone() string { return moves.Seed{Prefix: "bench"}.Slug(rand.IntN(p.tenants)) }

func (p *population) anyID(ctx context.Context) (uuid.UUID, error) {
	t, err := p.platform.tenants.Get(ctx, p.anyone())
	return t.ID, err
}

// operations are each one request's work or one look of the worker.
var operations = []struct {
	name string
	run  func(context.Context, *population) error
}{
	{"worker, nothing due", func(ctx context.Context, p *population) error {
		_, err := p.store.RunDue(ctx, operator, 100)
		return err
	}},
	{"JWKS, not in memory", func(ctx context.Context, p *population) error {
		_, err := p.db.PublicTenant(ctx, uuid.Nil, p.anyone())
		return err
	}},
	{"token, nothing in memory", func(ctx context.Context, p *population) error {
		_, err := p.signer.SignToken(ctx, p.anyone(), signing.Order{})
		return err
	}},
	{"create a tenant", func(ctx context.Context, p *population) error {
		_, err := p.store.CreateTenant(ctx, operator, tenant.Spec{Slug: "new-" + uuid.NewString()[:13], Caching: tenant.DefaultCaching})
		return err
	}},
	{"rotate", func(ctx context.Context, p *population) error {
		id, err := p.anyID(ctx)
		if err != nil {
			return err
		}
		_, err = p.store.Rotate(ctx, operator, id, moves.RotateRequest{})
		return err
	}},
	{"revoke", func(ctx context.Context, p *population) error {
		t, err := p.platform.tenants.Get(ctx, p.anyone())
		if err != nil {
			return err
		}
		page, err := p.store.List(ctx, t.ID, moves.Filter{State: keys.Active, Limit: 1})
		if err != nil {
			return err
		}
		_, err = p.store.Revoke(ctx, operator, t.ID, page.Items[0].KID, moves.RevokeRequest{Reason: keys.Unspecified})
		return err
	}},
	{"page of tenants", func(ctx context.Context, p *population) error {
		_, _, err := p.platform.tenants.List(ctx, tenant.ListFilter{Limit: 50})
		return err
	}},
	{"page of a history", func(ctx context.Context, p *population) error {
		id, err := p.anyID(ctx)
		if err != nil {
			return err
		}
		_, err = p.audit.List(ctx, id, audit.Filter{Limit: 50})
		return err
	}},
}
