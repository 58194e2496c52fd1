package main

import (
	"fmt"

	"github.com/keyward/keyward/client"
)

// trying is the flag of what can be tried first.
type trying struct {
	DryRun bool `name:"dry-run" help:"Show what would happen and stop."`
}

// wish is the flag for the API.
func (t trying) wish() *bool {
	if !t.DryRun {
		return nil
	}
	return new(true)
}

// unchanged ends what a dry run shows.
func (p *program) unchanged() error {
	_, err := fmt.Fprintln(p.stdout, "Nothing was changed (--dry-run).")
	return err
}

// wouldHappen shows what the schedule would do.
func (p *program) wouldHappen(steps []client.TimelineStep) error {
	if err := p.show(timeline(steps)); err != nil {
		return err
	}
	return p.unchanged()
}

func timeline(steps []client.TimelineStep) table {
	t := table{head: []string{"AT", "WHAT", "KID", "FROM", "TO"}}
	for _, s := range steps {
		t.add(when(s.At), string(s.Action), maybe(s.KID, text), maybe(s.FromState, text), maybe(s.ToState, text))
	}
	return t
}
