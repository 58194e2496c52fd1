package console

import (
	"context"
	"slices"
	"strings"

	"github.com/keyward/keyward/client"
)

type platformPage struct {
	Known  bool // the state of the installation, beside that of this process
	State  PlatformState
	Checks []check
	Ready  bool
	Denied []client.AuditEvent
}

// Behind counts the processes that did not confirm the latest changes.
func (p platformPage) Behind() (n int) {
	for _, process := range p.State.Processes {
		if process.Behind {
			n++
		}
	}
	return n
}

// Leads reports whether a process is the worker that leads.
func (p platformPage) Leads(process Process) bool {
	return p.State.Lease != nil && !p.State.Lease.Expired && p.State.Lease.Holder == process.Name
}

// Worst returns the level of the worst finding.
func (p platformPage) Worst() string {
	if slices.ContainsFunc(p.State.Findings, func(f DoctorFinding) bool { return f.Level == "fail" }) {
		return "bad"
	}
	return "warn"
}

type check struct {
	Name, Word string
	OK         bool
	Detail     string
}

var checkWords = map[string]string{
	"database": "PostgreSQL answers and can be written", "migrations": "The schema is up to date", "master_key": "The master key opens the data keys",
	"process": "This process serves requests",
}

// showPlatform shows the state of the installation.
func showPlatform(v *visit) error {
	if !v.OfPlatform() {
		return forbidden
	}
	var p platformPage
	var denied client.AuditEventList
	err := v.all(
		func(ctx context.Context) (err error) {
			if p.Known = v.c.cfg.Platform != nil; p.Known {
				p.State, err = v.c.cfg.Platform(ctx)
			}
			return err
		},
		func(ctx context.Context) error {
			p.Checks, p.Ready = v.checks(ctx)
			return nil
		},
		into(v, "listPlatformAuditEvents", &denied, func(ctx context.Context) (*client.AuditEventList, error) {
			return v.api.ListPlatformAuditEvents(ctx, &client.ListPlatformAuditEventsParams{Action: new(client.Action("authorization.denied")), Limit: new(5), Order: new(client.OrderDesc)})
		}),
	)
	if err != nil {
		return err
	}
	p.Denied = denied.Items
	return v.render("platform.html", "Platform", p)
}

// checks are the parts of this process's readiness, by their names.
func (v *visit) checks(ctx context.Context) (list []check, ready bool) {
	answer := readiness(ctx, v.api)
	for name, c := range answer.Checks {
		line := check{Name: name, Word: checkWords[name], OK: c.Ok}
		if c.Detail != nil {
			line.Detail = *c.Detail
		}
		if line.Word == "" {
			line.Word = strings.ReplaceAll(name, "_", " ")
		}
		list = append(list, line)
	}
	slices.SortFunc(list, func(a, b check) int { return strings.Compare(a.Name, b.Name) })
	return list, answer.Status == "ok"
}
