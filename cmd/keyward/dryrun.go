package main

import (
	"fmt"

	"github.com/keyward/keyward/client"
)

// dryRunFlag is shared by commands with a dry run.
type dryRunFlag struct {
	DryRun bool `name:"dry-run" help:"Show what would happen; change nothing."`
}

// param returns the API's dry_run parameter, nil if not asked for.
func (t dryRunFlag) param() *bool {
	if !t.DryRun {
		return nil
	}
	return new(true)
}

// printUnchanged ends the output of a dry run.
func (p *program) printUnchanged() error {
	_, err := fmt.Fprintln(p.stdout, "Nothing was changed (--dry-run).")
	return err
}

// printTimeline prints the scheduled steps of a dry run.
func (p *program) printTimeline(steps []client.TimelineStep) error {
	if err := p.printTable(timelineTable(steps)); err != nil {
		return err
	}
	return p.printUnchanged()
}

func timelineTable(steps []client.TimelineStep) table {
	t := table{head: []string{"AT", "WHAT", "KID", "FROM", "TO"}}
	for _, s := range steps {
		t.add(formatTime(s.At), string(s.Action), optionalText(s.KID, stringOf), optionalText(s.FromState, stringOf), optionalText(s.ToState, stringOf))
	}
	return t
}
