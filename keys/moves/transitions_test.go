package moves

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// Who tries: a superuser (no role), for whom rows and columns are not
// restricted, and the two roles that write.
var writers = []string{"", "keyward_platform", "keyward_app"}

// pair is a move that somebody tries; from is Born for a key that enters.
type pair struct{ from, to keys.State }

func (m pair) String() string {
	if m.from == keys.Born {
		return "birth as " + string(m.to)
	}
	return string(m.from) + " to " + string(m.to)
}

// pairs are all that can be written down.
func pairs() (all []pair) {
	for _, from := range append([]keys.State{keys.Born}, keys.States()...) {
		for _, to := range keys.States() {
			all = append(all, pair{from, to})
		}
	}
	return all
}

// rule names the database's reason to refuse a move that has its event; empty
// where Go's table allows it.
func (m pair) rule() string {
	switch {
	case keys.CanMove(m.from, m.to):
		return ""
	case m.from == keys.Born:
		return "keys_birth"
	case m.from == m.to:
		return "keys_state_event" // staying is no move, so it is no event either
	}
	return "keys_transition"
}

// prepare makes a tenant whose key is where the move begins.
func (m pair) prepare(p *psql) uuid.UUID {
	id := p.tenant("")
	if m.from != keys.Born {
		p.key(id, "kid", m.from)
	}
	return id
}

// row is the key as it would be after the move, but for its event.
func (m pair) row(a *act, id uuid.UUID) (columns, error) {
	if m.from == keys.Born {
		return a.born(id, "kid", m.to), nil
	}
	row, err := a.read(id, "kid")
	if err == nil {
		a.settle(row, m.to)
	}
	return row, err
}

func (m pair) write(a *act, row columns) error {
	if m.from == keys.Born {
		return a.insertRow("keys", row)
	}
	return a.update(row)
}

// The transitions of docs/contract.md, in Go and in PostgreSQL: every pair of
// states, with everything the new state asks for and a proper audit event.
func TestDatabaseAndGoAgreeOnTransitions(t *testing.T) {
	p := newPSQL(t)
	for _, role := range writers {
		for _, m := range pairs() {
			id := m.prepare(p)
			before := p.fingerprint()
			err := p.try(func(a *act) error {
				row, err := m.row(a, id)
				if err != nil {
					return err
				}
				if err := a.as(role, id); err != nil {
					return err
				}
				if row["state_event"], err = a.happen(id, moved("kid", m.from, m.to)); err != nil {
					return err
				}
				return m.write(a, row)
			})
			p.refused(t, fmt.Sprintf("%s by %q", m, role), m.rule(), before, err)
		}
	}
}

// The rows of the test above are right in themselves: where a move is refused,
// it is not because a CHECK happens to dislike how the test wrote it.
func TestRowsOfEveryMoveKeepTheChecks(t *testing.T) {
	p := newPSQL(t)
	errEnough := errors.New("enough")
	for _, m := range pairs() {
		id := m.prepare(p)
		err := p.try(func(a *act) error {
			row, err := m.row(a, id)
			if err != nil {
				return err
			}
			row["state_event"] = 1
			if err := errors.Join(a.bare(), m.write(a, row)); err != nil {
				return err
			}
			return errEnough
		})
		if !errors.Is(err, errEnough) {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// A move that exists, with something the matter with its event.
func TestNoMoveWithoutItsEvent(t *testing.T) {
	p := newPSQL(t)
	for _, c := range []struct {
		name  string
		event func(a *act, id uuid.UUID, m pair, last int64) (int64, error)
		rule  string // of a key that is there; one that enters has no event before
	}{
		{"none", func(_ *act, _ uuid.UUID, _ pair, last int64) (int64, error) { return last, nil }, "keys_state_event"},
		{"one to come", func(_ *act, _ uuid.UUID, _ pair, last int64) (int64, error) { return last + 1, nil }, "keys_move_is_audited"},
		{"of another key", func(a *act, id uuid.UUID, m pair, _ int64) (int64, error) {
			return a.happen(id, moved("other", m.from, m.to))
		}, "keys_move_is_audited"},
		{"to another state", func(a *act, id uuid.UUID, m pair, _ int64) (int64, error) {
			return a.happen(id, audit.Event{KID: "kid", FromState: string(m.from), ToState: "elsewhere"})
		}, "keys_move_is_audited"},
		{"from another state", func(a *act, id uuid.UUID, m pair, _ int64) (int64, error) {
			return a.happen(id, moved("kid", "elsewhere", m.to))
		}, "keys_move_is_audited"},
		{"of an earlier transaction", func(*act, uuid.UUID, pair, int64) (int64, error) { return 0, nil }, "keys_move_is_audited"},
	} {
		for _, m := range pairs() {
			if !keys.CanMove(m.from, m.to) || m.from == keys.Born && c.name == "from another state" {
				continue // a key that is active from the start was standby for no time: its event says so
			}
			p.withoutEvent(t, c.name, m, c.rule, c.event)
		}
	}
}

func (p *psql) withoutEvent(t *testing.T, name string, m pair, rule string, event func(*act, uuid.UUID, pair, int64) (int64, error)) {
	t.Helper()
	id := m.prepare(p)
	var early int64
	if name == "of an earlier transaction" {
		p.must(func(a *act) (err error) { early, err = a.happen(id, moved("kid", m.from, m.to)); return err })
	}
	if m.from == keys.Born {
		rule = "keys_move_is_audited"
	}
	before := p.fingerprint()
	err := p.try(func(a *act) error {
		row, err := m.row(a, id)
		if err != nil {
			return err
		}
		last, _ := row["state_event"].(int64)
		seq, err := event(a, id, m, max(last, 1))
		if err != nil {
			return err
		}
		row["state_event"] = max(seq, early)
		return m.write(a, row)
	})
	p.refused(t, fmt.Sprintf("%s, event %s", m, name), rule, before, err)
}

// refused demands that a rule refused and that nothing is left of the attempt;
// without a rule, that there was nothing to refuse.
func (p *psql) refused(t *testing.T, what, rule, before string, err error) {
	t.Helper()
	switch {
	case rule == "" && err != nil:
		t.Errorf("%s: refused: %v", what, err)
	case rule != "" && err == nil:
		t.Errorf("%s: not refused, want %s", what, rule)
	case db.Constraint(err) != rule:
		t.Errorf("%s: refused by %q, want %s: %v", what, db.Constraint(err), rule, err)
	case rule != "" && p.fingerprint() != before:
		t.Errorf("%s: refused, and yet something has changed", what)
	}
}
