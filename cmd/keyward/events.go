package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

// eventsCmd prints events until it is interrupted.
type eventsCmd struct {
	Since string `name:"since" placeholder:"ID" help:"Resume after the event with this id, as --json prints it. Default: start now."`
	eventScope
}

// Run is keyward events. Each event is one line; with --json it is the audit
// event with an additional id, for --since. Notes about the connection go to
// stderr.
func (c *eventsCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	f := follower{p: p, last: c.Since, tenant: c.Tenant}
	for e, err := range api.Follow(ctx, c.Tenant, c.Since, f.onTurn) {
		switch {
		case ctx.Err() != nil: // interrupted
			f.printResumeHint()
			return nil
		case err != nil:
			return f.explainEnd(err)
		}
		if err := p.printEvent(e, c.JSON); err != nil {
			return err
		}
		f.last = e.ID
	}
	return nil
}

// follower prints notes about the state of a stream.
type follower struct {
	p        *program
	tenant   string // tenant; empty: all
	last     string // id of the last printed event, or of --since
	begun    bool
	lastNote string // the last note about a failure
}

// slowReader is a delay between reads that suggests a slow reader of stdout.
const slowReader = 5 * time.Second

// onTurn prints a note about each new state of the connection. It does not
// repeat the note of a repeated failure.
func (f *follower) onTurn(t client.Turn) {
	switch {
	case t.Open && !f.begun:
		f.p.printNote("Streaming the events of %s. Press Ctrl-C to stop.", f.scopeName())
		f.begun = true
	case t.Open:
		f.p.printNote("Reconnected; continuing after the last event.")
	}
	if t.Open {
		f.lastNote = ""
		return
	}
	trouble := fmt.Sprintf("Connection lost: %v. Retrying.", t.Err)
	switch {
	case t.Reason != "":
		trouble = fmt.Sprintf("The server closed the stream: %s. Retrying.", t.Reason)
	case t.Held >= slowReader:
		trouble = fmt.Sprintf("Connection lost, probably as a slow reader: writing one event took %v. Retrying.", t.Held.Round(time.Second))
	}
	if trouble != f.lastNote {
		f.p.printNote("%s", trouble)
	}
	f.lastNote = trouble
}

func (f *follower) scopeName() string {
	if f.tenant == "" {
		return "all tenants"
	}
	return f.tenant
}

// printResumeHint prints the --since flag to continue with.
func (f *follower) printResumeHint() {
	if f.last != "" {
		f.p.printNote("To continue after the last event: --since %s", f.last)
	}
}

// explainEnd adds advice to the error that ended the stream.
func (f *follower) explainEnd(err error) error {
	var p *client.Problem
	if errors.As(err, &p) && p.Status == http.StatusBadRequest && f.last != "" {
		return fmt.Errorf("%w\n  Resynchronise: read the history with keyward audit list, and stream again without --since", err)
	}
	f.printResumeHint()
	return err
}

// printEvent prints an event in one line.
func (p *program) printEvent(e client.Event, asJSON bool) error {
	if asJSON {
		members, is := strings.CutPrefix(string(e.JSON), "{")
		id, err := json.Marshal(e.ID)
		if !is || err != nil {
			return client.ErrNotKeyward
		}
		_, err = fmt.Fprintf(p.stdout, "{\"id\":%s,%s\n", id, members)
		return err
	}
	line := fmt.Sprintf("%s  %-12s  %-18s  by %s", formatTime(e.At), e.Tenant, e.Action, actorName(e.Actor))
	for _, more := range []*string{e.KID, e.Reason} {
		if more != nil {
			line += "  " + *more
		}
	}
	_, err := fmt.Fprintln(p.stdout, sanitizeText(line))
	return err
}
