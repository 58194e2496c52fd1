package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

// exported collects an export.
func (w world) exported(t *testing.T, f audit.Filter) (events []audit.Event) {
	t.Helper()
	if err := w.Export(t.Context(), f, func(e audit.Event) error { events = append(events, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return events
}

func (w world) many(t *testing.T, id uuid.UUID, n int) {
	t.Helper()
	events := make([]audit.Event, n)
	for i := range events {
		events[i] = denied(fmt.Sprint("kid", i%2), -1-i%3)
	}
	w.append(t, id, events...)
}

func TestExportIsTheWholeList(t *testing.T) {
	w := newWorld(t)
	id, other := w.tenant(t, "acme"), w.tenant(t, "other")
	w.many(t, id, 2500) // more than two pages
	w.many(t, other, 10)
	one := func(f audit.Filter) audit.Filter { f.TenantID = id; return f }
	for name, f := range map[string]audit.Filter{
		"oldest first": one(audit.Filter{Ascending: true}), "newest first": one(audit.Filter{}),
		"a kid":  one(audit.Filter{KID: "kid1", Ascending: true}),
		"a time": one(audit.Filter{Since: noon.Add(-2 * time.Minute), Until: noon.Add(-time.Minute)}),
		"nobody": one(audit.Filter{Actor: "nobody"}),
		"of all": {Until: noon}, "of all, oldest first": {Ascending: true, Until: noon},
	} {
		got := w.exported(t, f)
		f.Limit = 500
		want := collect(t, w.ListAll, f)
		if !slices.EqualFunc(got, want, func(a, b audit.Event) bool {
			return a.TenantID == b.TenantID && a.Seq == b.Seq && string(a.Hash) == string(b.Hash) && a.Tenant == b.Tenant
		}) {
			t.Errorf("%s: %d events, the list has %d", name, len(got), len(want))
		}
	}
	var v audit.Verifier
	for _, e := range w.exported(t, one(audit.Filter{Ascending: true})) {
		if err := v.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if head := w.head(t, id); string(v.Head().Hash) != string(head.Hash) || v.Head().Seq != 2501 {
		t.Errorf("the export ends with %+v, the chain with %+v", v.Head(), head)
	}
}

func TestExportGoesOnAndStops(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	w.many(t, id, 20)
	for _, ascending := range []bool{true, false} {
		page, err := w.List(t.Context(), id, audit.Filter{Limit: 5, Ascending: ascending})
		if err != nil {
			t.Fatal(err)
		}
		rest := w.exported(t, audit.Filter{TenantID: id, Ascending: ascending, Cursor: page.Next})
		if all := w.exported(t, audit.Filter{TenantID: id, Ascending: ascending}); !slices.Equal(seqs(rest), seqs(all)[5:]) {
			t.Errorf("behind the first page: %v of %v", seqs(rest), seqs(all))
		}
		if some := w.exported(t, audit.Filter{TenantID: id, Ascending: ascending, Limit: 7}); len(some) != 7 {
			t.Errorf("%d events, want 7", len(some))
		}
		wrong := audit.Filter{TenantID: id, Ascending: !ascending, Cursor: page.Next}
		if err := w.Export(t.Context(), wrong, nil); !errors.Is(err, audit.ErrBadCursor) {
			t.Errorf("a cursor of the other order: %v", err)
		}
	}
	enough := errors.New("enough")
	if err := w.Export(t.Context(), audit.Filter{TenantID: id}, func(audit.Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("each failed, Export says %v", err)
	}
	if err := w.Export(t.Context(), audit.Filter{TenantID: uuid.Max}, nil); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("no tenant: %v", err)
	}
}

// What is appended while an export runs is not in it, in neither order.
func TestExportEndsWithItsBeginning(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	w.many(t, id, 1500)
	for _, f := range []audit.Filter{{TenantID: id, Ascending: true}, {TenantID: id}} {
		last := w.head(t, id).Seq
		n := int64(0)
		err := w.Export(t.Context(), f, func(e audit.Event) error {
			if n++; n == 1 {
				w.many(t, id, 1500)
			}
			if e.Seq > last {
				t.Errorf("event %d, the last was %d", e.Seq, last)
			}
			return nil
		})
		if err != nil || n != last {
			t.Errorf("%d events of %d: %v", n, last, err)
		}
	}
}

func TestHeadIsChecked(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	w.append(t, id, denied("kid", 1), denied("kid", 2))
	h, err := w.Head(t.Context(), id)
	if err != nil || h.Seq != 3 || h.Tenant != "acme" || !h.At.Equal(noon.Add(2*time.Minute)) || string(h.Hash) != string(w.head(t, id).Hash) {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := w.Head(t.Context(), uuid.Max); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("no tenant: %v", err)
	}
	for i, sql := range []string{
		"UPDATE audit_events SET reason = 'x' WHERE tenant_id = '%s' AND seq = 3", "DELETE FROM audit_events WHERE tenant_id = '%s' AND seq = 3",
		"UPDATE tenants SET audit_hash = sha256(audit_hash) WHERE id = '%s'",
	} {
		id := w.tenant(t, fmt.Sprint("t", i))
		w.append(t, id, denied("kid", 1), denied("kid", 2))
		w.tamper(t, fmt.Sprintf(sql, id))
		if h, err := w.Head(t.Context(), id); !errors.Is(err, audit.ErrBroken) {
			t.Errorf("after %s: %+v, %v", sql, h, err)
		}
	}
}

// Each state is the one an event led to.
func TestListByState(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	for i, m := range []struct {
		action audit.Action
		to     string
	}{
		{audit.KeyCreated, "standby"},
		{audit.KeyActivated, "active"},
		{audit.KeyImported, "deprecated"},
		{audit.KeyImported, "standby"},
		{audit.KeyDeprecated, "deprecated"},
		{audit.KeyActivated, "active"},
		{audit.AuthorizationDenied, ""},
	} { // seqs 2 to 8
		e := denied("kid", i-30)
		e.Action, e.ToState = m.action, m.to
		if m.to != "" && !m.action.LeadsTo(m.to) {
			t.Errorf("%s does not lead to %s", m.action, m.to)
		}
		w.append(t, id, e)
	}
	for state, want := range map[string][]int64{"standby": {2, 5}, "active": {3, 7}, "deprecated": {4, 6}, "revoked": nil, "elsewhere": nil} {
		if got := seqs(w.exported(t, audit.Filter{TenantID: id, State: state, Ascending: true})); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", state, got, want)
		}
		slices.Reverse(want) // newest first
		if got := seqs(w.exported(t, audit.Filter{State: state, Until: noon})); !slices.Equal(got, want) {
			t.Errorf("%s of all: %v, want %v", state, got, want)
		}
	}
}

// An actor is found by id and by name, each event once and in order, and the
// schedule and its processes are actors too.
func TestListByActor(t *testing.T) {
	w := newWorld(t)
	id, other := w.tenant(t, "acme"), w.tenant(t, "other") // seq 1 is by somebody, 1000
	for i, a := range []audit.Actor{
		{Type: audit.ActorAPIKey, ID: "k1", Name: "deploy"},
		{Type: audit.ActorOIDC, ID: "deploy", Name: "deploy"},
		{Type: audit.ActorWorker, ID: "host/1", Name: "worker"},
		{Type: audit.ActorAPIKey, ID: "k2", Name: "deploy"},
		{Type: audit.ActorAPIKey, ID: "host/1", Name: "odd"},
		{Type: audit.ActorAPIKey, ID: "worker", Name: "odd"},
		{Type: audit.ActorWorker, ID: "host/2", Name: "worker"},
	} { // seqs 2 to 8
		e := denied("kid", 1+i)
		e.Actor = a
		if i%2 == 0 {
			e.Action, e.ToState = audit.KeyActivated, "active"
		}
		w.append(t, id, e)
		w.append(t, other, e)
	}
	for name, c := range map[string]struct {
		f    audit.Filter
		want []int64
	}{
		"a name":          {audit.Filter{Actor: "deploy"}, []int64{2, 3, 5}},
		"an id":           {audit.Filter{Actor: "k1"}, []int64{2}},
		"a process":       {audit.Filter{Actor: "host/1"}, []int64{4, 6}},
		"the schedule":    {audit.Filter{Actor: "worker"}, []int64{4, 7, 8}},
		"what it did":     {audit.Filter{Actor: "worker", State: "active"}, []int64{4, 8}},
		"and when":        {audit.Filter{Actor: "deploy", Until: noon.Add(2 * time.Minute)}, []int64{2}},
		"since":           {audit.Filter{Actor: "host/1", Since: noon.Add(4 * time.Minute)}, []int64{6}},
		"with an action":  {audit.Filter{Actor: "deploy", Action: "authorization.denied"}, []int64{3, 5}},
		"with a state":    {audit.Filter{Actor: "deploy", State: "active"}, []int64{2}},
		"state of nobody": {audit.Filter{Actor: "odd", State: "standby"}, nil},
		"with a kid":      {audit.Filter{Actor: "deploy", KID: "kid"}, []int64{2, 3, 5}},
		"nobody":          {audit.Filter{Actor: "deplo"}, nil},
	} {
		for _, ascending := range []bool{true, false} {
			f, want := c.f, slices.Clone(c.want)
			if f.Ascending = ascending; !ascending {
				slices.Reverse(want)
			}
			f.Limit = 2
			list := func(ctx context.Context, f audit.Filter) (audit.Page, error) { return w.List(ctx, id, f) }
			if got := seqs(collect(t, list, f)); !slices.Equal(got, want) {
				t.Errorf("%s, ascending %v: %v, want %v", name, ascending, got, want)
			}
		}
	}
}
