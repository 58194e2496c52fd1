package audit_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

func seqs(events []audit.Event) []int64 {
	var s []int64
	for _, e := range events {
		s = append(s, e.Seq)
	}
	return s
}

func TestListPagesAndFilters(t *testing.T) {
	w := newWorld(t)
	id, other := w.tenant(t, "acme"), w.tenant(t, "other")
	for n := range 6 { // seqs 2 to 7
		w.append(t, id, denied(fmt.Sprint("kid", n%2), n+1))
		w.append(t, other, denied("kid0", n+1))
	}
	of := func(ctx context.Context, f audit.Filter) (audit.Page, error) { return w.List(ctx, id, f) }
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for _, c := range []struct {
		name string
		f    audit.Filter
		want []int64
	}{
		{"newest first", audit.Filter{Limit: 2}, []int64{7, 6, 5, 4, 3, 2, 1}},
		{"oldest first", audit.Filter{Limit: 3, Ascending: true}, []int64{1, 2, 3, 4, 5, 6, 7}},
		{"exactly one page", audit.Filter{Limit: 7}, []int64{7, 6, 5, 4, 3, 2, 1}},
		{"action", audit.Filter{Limit: 2, Action: "tenant.created"}, []int64{1}},
		{"kid", audit.Filter{Limit: 2, KID: "kid1"}, []int64{7, 5, 3}},
		{"actor's id", audit.Filter{Limit: 4, Actor: "1000", Ascending: true}, []int64{1, 2, 3, 4, 5, 6, 7}},
		{"actor's name", audit.Filter{Limit: 4, Actor: "somebody", KID: "kid0"}, []int64{6, 4, 2}},
		{"nobody", audit.Filter{Limit: 4, Actor: "nobody"}, nil},
		{"what no text can hold", audit.Filter{Limit: 4, KID: "kid\x00\xff"}, nil},
		{"since", audit.Filter{Limit: 1, Since: minute(5)}, []int64{7, 6}},
		{"until", audit.Filter{Limit: 1, Until: minute(2)}, []int64{2, 1}},
		{"between", audit.Filter{Limit: 9, Since: minute(2), Until: minute(4)}, []int64{4, 3}},
		{"since before there were computers", audit.Filter{Limit: 9, Since: time.Date(-9000, 1, 1, 0, 0, 0, 0, time.UTC), Until: minute(1)}, []int64{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := collect(t, of, c.f)
			if !slices.Equal(seqs(got), c.want) {
				t.Errorf("seqs %v, want %v", seqs(got), c.want)
			}
			for _, e := range got {
				if e.TenantID != id || e.Tenant != "acme" {
					t.Errorf("event of %s %q", e.TenantID, e.Tenant)
				}
			}
		})
	}
}

func TestListAll(t *testing.T) {
	w := newWorld(t)
	a, b := w.tenant(t, "a"), w.tenant(t, "b")
	for n := range 5 {
		w.append(t, a, denied("kid", 2*n+1))
		w.append(t, b, denied("kid", 2*n+2), denied("kid", 2*n+2)) // at one time
	}
	key := func(e audit.Event) string { return fmt.Sprint(e.At.UnixMicro(), e.TenantID, e.Seq) }
	down := collect(t, w.ListAll, audit.Filter{Limit: 4})
	up := collect(t, w.ListAll, audit.Filter{Limit: 4, Ascending: true})
	if len(down) != 17 || len(up) != 17 {
		t.Fatalf("%d and %d events, want 17", len(down), len(up))
	}
	for i, e := range up {
		if i > 0 && key(up[i-1]) >= key(e) {
			t.Errorf("%s before %s", key(up[i-1]), key(e))
		}
		if key(down[16-i]) != key(e) {
			t.Errorf("the orders differ at %d", i)
		}
		if want := map[uuid.UUID]string{a: "a", b: "b"}[e.TenantID]; e.Tenant != want {
			t.Errorf("slug %q, want %q", e.Tenant, want)
		}
	}
	if got := collect(t, w.ListAll, audit.Filter{Limit: 2, TenantID: a}); len(got) != 6 {
		t.Errorf("%d events of one tenant, want 6", len(got))
	}
	if got := collect(t, w.ListAll, audit.Filter{Limit: 2, KID: "kid", Since: noon.Add(9 * time.Minute)}); len(got) != 3 {
		t.Errorf("%d filtered events, want 3", len(got))
	}
}

func TestCursorsThatNoListReturned(t *testing.T) {
	w := newWorld(t)
	id, other := w.tenant(t, "acme"), w.tenant(t, "other")
	w.append(t, id, denied("kid", 1), denied("kid", 2))
	p, err := w.List(t.Context(), id, audit.Filter{Limit: 1})
	if err != nil || p.Next == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(p.Next)
	raw[24+7]++ // another seq
	lists := map[string]func(cursor string) error{
		"List":    func(c string) error { _, err := w.List(t.Context(), id, audit.Filter{Cursor: c}); return err },
		"ListAll": func(c string) error { _, err := w.ListAll(t.Context(), audit.Filter{Cursor: c}); return err },
	}
	for name, list := range lists {
		for _, c := range []string{"x", "!", strings.Repeat("A", 54), p.Next + "A", p.Next[1:], base64.RawURLEncoding.EncodeToString(raw)} {
			if err := list(c); !errors.Is(err, audit.ErrBadCursor) {
				t.Errorf("%s: cursor %q: %v", name, c, err)
			}
		}
	}
	for name, f := range map[string]audit.Filter{
		"order": {Cursor: p.Next, Ascending: true}, "kid": {Cursor: p.Next, KID: "kid"}, "time": {Cursor: p.Next, Since: noon},
	} {
		if _, err := w.List(t.Context(), id, f); !errors.Is(err, audit.ErrBadCursor) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := w.List(t.Context(), other, audit.Filter{Cursor: p.Next}); !errors.Is(err, audit.ErrBadCursor) {
		t.Errorf("another tenant: %v", err)
	}
	if _, err := w.List(t.Context(), id, audit.Filter{Cursor: p.Next, Limit: 7}); err != nil {
		t.Errorf("another limit: %v", err)
	}
}

// Neither the roles of the program nor the owner of the table can change what
// has been written, and nobody can write what does not continue the chain.
func TestAppendOnly(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, role := range []string{"keyward_app", "keyward_platform", "keyward_owner", "keyward_public", "postgres"} {
		for _, sql := range []string{"UPDATE audit_events SET reason = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"} {
			_, err := conn.Exec(t.Context(), fmt.Sprintf(
				"BEGIN; SELECT set_config('role', '%s', true), set_config('keyward.tenant_id', '%s', true); %s; ROLLBACK",
				strings.Replace(role, "postgres", "none", 1), id, sql))
			if err == nil {
				t.Errorf("%s may %s", role, sql)
			}
			if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
		}
	}
	stray := audit.Genesis(id)
	_, events := audit.Chain(stray, []audit.Event{denied("", 1)})
	err = w.db.InTenant(t.Context(), id, func(tx *db.Tx) error {
		return tx.InsertAuditEvents(t.Context(), db.InsertAuditEventsParams(audit.ToColumns(events)))
	})
	if err == nil {
		t.Error("an event beside the chain was accepted")
	}
	if r, err := w.Verify(t.Context(), id); err != nil || !r.Intact || r.Events != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// The indexes for filters begin behind an event that statements must name too. A list is
// the same on both of its sides, and across it.
func TestFiltersAcrossTheFirstIndexedEvent(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	kinds := []struct{ action, state string }{{"key.created", "standby"}, {"key.activated", "active"}, {"key.deprecated", "deprecated"}}
	w.tamper(t, fmt.Sprintf(`INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, to_state, details, prev_hash, hash)
		SELECT '%s', i, timestamptz '%s' + i * interval '1 minute', (ARRAY['key.created', 'key.activated', 'key.deprecated'])[1 + i %% 3], 'api_key',
			'id' || i %% 5, (ARRAY['worker', 'alice'])[1 + i %% 2], 'k' || i %% 7, (ARRAY['standby', 'active', 'deprecated'])[1 + i %% 3], '{}', sha256('0'), sha256('1')
		FROM generate_series(2, 600) i; UPDATE tenants SET audit_seq = 600`, id, noon.Format(time.RFC3339)))
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var starts string
	if err := conn.QueryRow(t.Context(), `SELECT string_agg(DISTINCT substring(indexdef FROM 'seq > (\d+)'), ' ') FROM pg_indexes
		WHERE tablename = 'audit_events' AND indexdef LIKE '%WHERE%'`).Scan(&starts); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint(audit.Unindexed); starts != want {
		t.Fatalf("the indexes begin behind event %q, the lists believe %q", starts, want)
	}
	of := func(ctx context.Context, f audit.Filter) (audit.Page, error) { return w.List(ctx, id, f) }
	for name, c := range map[string]struct {
		f    audit.Filter
		want func(i int) bool
	}{
		"kid":           {audit.Filter{KID: "k3"}, func(i int) bool { return i%7 == 3 }},
		"action":        {audit.Filter{Action: kinds[1].action}, func(i int) bool { return i%3 == 1 }},
		"state":         {audit.Filter{State: kinds[2].state}, func(i int) bool { return i%3 == 2 }},
		"name":          {audit.Filter{Actor: "alice"}, func(i int) bool { return i%2 == 1 }},
		"id":            {audit.Filter{Actor: "id4"}, func(i int) bool { return i%5 == 4 }},
		"name and kid":  {audit.Filter{Actor: "alice", KID: "k0"}, func(i int) bool { return i%14 == 7 }},
		"time":          {audit.Filter{Since: noon.Add(250 * time.Minute), Until: noon.Add(262 * time.Minute)}, func(i int) bool { return i >= 250 && i < 262 }},
		"time and kid":  {audit.Filter{KID: "k1", Since: noon.Add(200 * time.Minute), Until: noon.Add(300 * time.Minute)}, func(i int) bool { return i%7 == 1 && i >= 200 && i < 300 }},
		"of short part": {audit.Filter{KID: "k1", Until: noon.Add(50 * time.Minute)}, func(i int) bool { return i%7 == 1 && i < 50 }},
		"of long part":  {audit.Filter{KID: "k1", Since: noon.Add(500 * time.Minute)}, func(i int) bool { return i%7 == 1 && i >= 500 }},
	} {
		for _, limit := range []int{1, 7, 500} {
			for _, ascending := range []bool{false, true} {
				c.f.Limit, c.f.Ascending = limit, ascending
				var want []int64
				for i := 2; i <= 600; i++ {
					if c.want(i) {
						want = append(want, int64(i))
					}
				}
				if !ascending {
					slices.Reverse(want)
				}
				if got := seqs(collect(t, of, c.f)); !slices.Equal(got, want) {
					t.Errorf("%s, %d a page, ascending %t: %v, want %v", name, limit, ascending, got, want)
				}
			}
		}
	}
}
