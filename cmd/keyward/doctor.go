package main

import (
	"context"
	"fmt"
	"io"

	"github.com/keyward/keyward/db"
)

type doctorCmd struct {
	All    bool   `name:"all" xor:"what" help:"Prove the audit history of every tenant, not only of the hundred newest."`
	Tenant string `name:"tenant" xor:"what" placeholder:"SLUG" help:"Fetch what verifiers of this tenant fetch, and explain what they would make of it. Needs the public URL alone."`
}

// verdict is how a check went.
type verdict string

const (
	fine    verdict = "OK  "
	warning verdict = "WARN"
	failure verdict = "FAIL"
)

// report writes a line for each check and remembers the worst.
type report struct {
	w      io.Writer
	failed bool
}

func (r *report) say(v verdict, what, format string, args ...any) {
	r.failed = r.failed || v == failure
	fmt.Fprintf(r.w, "%s  %-14s  %s\n", v, what, fmt.Sprintf(format, args...))
}

// check says that something is fine, or why it failed and what to do.
func (r *report) check(what, good, advice string, err error) bool {
	if err != nil {
		r.say(failure, what, "%v: %s", err, advice)
		return false
	}
	r.say(fine, what, "%s", good)
	return true
}

// examination is one run of doctor.
type examination struct {
	report
	p   *program
	db  *db.DB
	all bool
}

// Run is keyward doctor. It changes nothing. The configuration has been
// checked before it runs.
func (c *doctorCmd) Run(ctx context.Context, p *program) error {
	if c.Tenant != "" {
		return c.examineTenant(ctx, p)
	}
	e := &examination{report: report{w: p.stdout}, p: p, all: c.All}
	e.configuration()
	e.machine(ctx)
	d, err := p.openDB(ctx)
	if err != nil {
		e.say(failure, "database", "%v", err)
		return errTold
	}
	defer d.Close()
	e.db = d
	if e.check("database", "answers", "is it running, and is KEYWARD_DATABASE_URL right?", d.Ping(ctx)) && e.schema(ctx) {
		e.guards(ctx)
		e.clock(ctx)
		e.listening(ctx)
		e.masterKey(ctx)
		e.invariants(ctx)
		e.histories(ctx)
	}
	if e.failed {
		return errTold
	}
	return nil
}
