package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// rewrapBatch is how many data keys a re-wrap moves in one transaction.
const rewrapBatch = 500

// BenchmarkRewrap rotates the master key over many data keys, and compares that
// with opening and wrapping each once and writing the results by UPDATEs of as
// many rows into a table that nothing guards. Beside it somebody asks for a JWKS
// and a token every few milliseconds, before and during the re-wrap, which makes
// way for that or, the second time, does not.
func BenchmarkRewrap(b *testing.B) {
	n := size(3000)
	uri := newMaster(b)
	p := openPlatform(b, dbtest.New(b), uri)
	seed := moves.Seed{Tenants: n, Keys: 2, Events: 6, Prefix: "t"}
	if err := seed.Write(b.Context(), p.store, operator, func(moves.SeedProgress) {}); err != nil {
		b.Fatal(err)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "\tdata keys\ttook\tdata keys/s\tbare AEAD\tbare UPDATE\tof both\t| JWKS p50, p99 before\tduring\t| token p50, p99 before\tduring")
	credential := p.key(b, tenant.PlatformAdmin)
	first := func() string { return seed.Slug(0) }
	for _, v := range []struct {
		name string
		custody.RewrapOptions
	}{{"making-way", custody.RewrapOptions{}}, {"full-speed", custody.RewrapOptions{FullSpeed: true}}} {
		b.Run(v.name, func(b *testing.B) {
			for b.Loop() {
				aead, update := bareRewrap(b, p.dsn, uri)
				before := p.probe(b, credential, first, func() { time.Sleep(10 * time.Second) })
				var took time.Duration
				during := p.probe(b, credential, first, func() {
					began := time.Now()
					done, err := p.custody.RotateMaster(b.Context(), operator, "", v.RewrapOptions)
					if took = time.Since(began); err != nil || done.Rewrapped != int64(n)+1 {
						b.Fatalf("%d data keys were wrapped anew instead of %d: %v", done.Rewrapped, n+1, err)
					}
				})
				b.ReportMetric((aead+update).Seconds()/took.Seconds(), "of-bare")
				b.ReportMetric(float64(n)/took.Seconds(), "data-keys/s")
				b.ReportMetric(percentile(during.sets, 0.99).Seconds()/percentile(before.sets, 0.99).Seconds(), "jwks-p99")
				b.ReportMetric(percentile(during.tokens, 0.99).Seconds()/percentile(before.tokens, 0.99).Seconds(), "token-p99")
				fmt.Fprintf(w, "%s\t%d\t%v\t%.0f\t%v\t%v\t%.2f\t| %s\t%s\t| %s\t%s\n", v.name, n, took.Round(time.Millisecond), float64(n)/took.Seconds(),
					aead.Round(time.Millisecond), update.Round(time.Millisecond), (aead+update).Seconds()/took.Seconds(),
					both(before.sets), both(during.sets), both(before.tokens), both(during.tokens))
			}
		})
	}
}

func both(waits []time.Duration) string {
	return fmt.Sprintf("%v %v", rounded(waits, 0.5), rounded(waits, 0.99))
}

type probes struct{ sets, tokens []time.Duration }

// probe asks, each time the tenant that next names, while something else goes on.
func (p *platform) probe(b *testing.B, credential string, next func() string, meanwhile func()) (seen probes) {
	over := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			slug := next()
			seen.sets = append(seen.sets, p.ask(b, http.MethodGet, p.jwks(slug), "", ""))
			seen.tokens = append(seen.tokens, p.ask(b, http.MethodPost, "http://"+p.addr+"/v1/tenants/"+slug+"/tokens", credential, `{"claims":`+claims+`}`))
			select {
			case <-over:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	meanwhile()
	close(over)
	asking.Wait()
	return seen
}

// ask asks once and returns how long the answer took.
func (p *platform) ask(b *testing.B, method, url, credential, body string) time.Duration {
	req, err := http.NewRequestWithContext(b.Context(), method, url, strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+credential)
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Error(err)
		return 0
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b.Error(url, ": ", res.Status)
	}
	return time.Since(began)
}

// bareRewrap is how long one core takes to open and wrap every data key of a
// database, and PostgreSQL to write as many of the same size.
func bareRewrap(b *testing.B, dsn, uri string) (aead, update time.Duration) {
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	ring, err := seal.Open(b.Context(), uri)
	if err != nil {
		b.Fatal(err)
	}
	master, err := ring.Key(b.Context(), ring.Newest())
	if err != nil {
		b.Fatal(err)
	}
	_, err = conn.Exec(b.Context(), `DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare;
		CREATE TABLE bare.data_keys (LIKE data_keys INCLUDING INDEXES); INSERT INTO bare.data_keys SELECT * FROM data_keys; ANALYZE bare.data_keys`)
	if err != nil {
		b.Fatal(err)
	}
	var after uuid.UUID
	for {
		rows, _ := conn.Query(b.Context(), "SELECT tenant_id, version, wrapped FROM bare.data_keys WHERE tenant_id > $1 AND is_current ORDER BY tenant_id LIMIT $2", after, rewrapBatch)
		batch, err := pgx.CollectRows(rows, pgx.RowToStructByPos[dataKey])
		if err != nil {
			b.Fatal(err)
		}
		if len(batch) == 0 {
			return aead, update
		}
		after = batch[len(batch)-1].TenantID
		began := time.Now()
		ids, wrapped := anew(b, master, batch)
		aead += time.Since(began)
		began = time.Now()
		_, err = conn.Exec(b.Context(), `UPDATE bare.data_keys d SET wrapped = m.wrapped, rewrapped_at = now(), master_key_id = $3
			FROM unnest($1::uuid[], $2::bytea[]) AS m (id, wrapped) WHERE d.tenant_id = m.id AND d.is_current`, ids, wrapped, uuid.New())
		if err != nil {
			b.Fatal(err)
		}
		update += time.Since(began)
	}
}

type dataKey struct {
	TenantID uuid.UUID
	Version  int32
	Wrapped  []byte
}

func anew(b *testing.B, master *seal.MasterKey, batch []dataKey) (ids []uuid.UUID, wrapped [][]byte) {
	for _, row := range batch {
		key, err := master.UnwrapDataKey(b.Context(), row.TenantID, row.Version, row.Wrapped)
		if err != nil {
			b.Fatal(err)
		}
		closed, err := master.WrapDataKey(b.Context(), row.TenantID, row.Version, key)
		if err != nil {
			b.Fatal(err)
		}
		ids, wrapped = append(ids, row.TenantID), append(wrapped, closed)
	}
	return ids, wrapped
}
