package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/keyward/keyward/moving"
)

// stepReport is a step of the plan in JSON.
type stepReport struct {
	KID     string     `json:"kid"`
	Alg     string     `json:"alg,omitempty"`
	From    string     `json:"from_state"`
	Becomes string     `json:"becomes"`
	Until   *time.Time `json:"expires_at,omitempty"`
	Note    string     `json:"note,omitempty"`
	Done    bool       `json:"done"`
	Error   string     `json:"error,omitempty"`
}

// printResult prints the result. It returns an error if a key could not be
// imported.
func (m *mover) printResult(p *program) error {
	var reports []stepReport
	moved, failed := 0, 0
	for _, s := range m.steps {
		r := m.reportStep(s)
		if r.Done {
			moved++
		}
		if r.Error != "" || s.Becomes == moving.Refused {
			failed++
		}
		reports = append(reports, r)
	}
	if m.flags.JSON {
		if err := json.NewEncoder(p.stdout).Encode(map[string]any{"tenant": m.flags.Tenant, "dry_run": m.flags.DryRun, "keys": reports}); err != nil {
			return err
		}
	} else {
		m.printSummary(p, moved)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d keys were not imported; imported keys stay, and running it again imports the rest", failed, len(reports))
	}
	return nil
}

func (m *mover) reportStep(s moving.Step) stepReport {
	r := stepReport{KID: s.KID, Alg: s.Alg, From: s.State, Becomes: s.Becomes, Note: s.Why}
	if s.Becomes == moving.Deprecated {
		r.Until = &s.Until
	}
	if m.failed == nil || !s.Moves() {
		return r
	}
	if err := m.failed[s.KID]; err != nil {
		r.Error = err.Error()
		return r
	}
	r.Done = true
	return r
}

func (m *mover) printSummary(p *program, moved int) {
	for _, s := range m.steps {
		if err := m.failed[s.KID]; err != nil {
			fmt.Fprintf(p.stderr, "%s: %v\n", sanitizeText(s.KID), err)
		}
	}
	switch {
	case m.flags.DryRun:
		fmt.Fprintln(p.stdout, "Nothing was changed (--dry-run).")
	case moved == 0 && len(m.failed) == 0:
		fmt.Fprintln(p.stdout, "Nothing to do.")
	default:
		fmt.Fprintf(p.stdout, "%d moved.\n", moved)
	}
}
