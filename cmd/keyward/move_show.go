package main

import (
	"io"
	"time"

	"github.com/keyward/keyward/moving"
)

// printPlan prints the plan as a table.
func (m *mover) printPlan(w io.Writer) error {
	t := table{head: []string{"KID", "ALG", "FROM STATE", "BECOMES", "NOTE"}}
	for _, s := range m.steps {
		t.add(s.KID, orDash(s.Alg), s.State, outcomeText(s), s.Why)
	}
	return t.print(w, terminalWidth(w))
}

func outcomeText(s moving.Step) string {
	switch s.Becomes {
	case moving.Deprecated:
		return "deprecated until " + s.Until.Format(time.RFC3339)
	case moving.Present:
		return "(skipped)"
	case moving.Left:
		return "(stays behind)"
	case moving.Refused:
		return "REFUSED"
	}
	return s.Becomes
}
