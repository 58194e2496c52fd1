package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

type doctorCmd struct {
	All    bool   `name:"all" xor:"what" help:"Verify the audit history of every tenant, not only of the 100 newest."`
	JSON   bool   `name:"json" help:"Print the findings as JSON."`
	Tenant string `name:"tenant" xor:"what" placeholder:"SLUG" help:"Check the public documents of this tenant as a verifier sees them. Needs only the public URL."`
	URL    string `name:"url" group:"api" var:"KEYWARD_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Connect to this Keyward. Default: ${default}."`
	APIKey string `name:"api-key" group:"api" var:"KEYWARD_API_KEY" secret:"" placeholder:"KEY" help:"Authenticate with this API key to name, with --tenant, the verifiers that lack a standby key; the variable hides it."`
}

// verdict is the result of a check.
type verdict string

const (
	fine    verdict = "OK  "
	warning verdict = "WARN"
	failure verdict = "FAIL"
)

// MarshalText writes ok, warn or fail.
func (v verdict) MarshalText() ([]byte, error) {
	return []byte(strings.ToLower(strings.TrimSpace(string(v)))), nil
}

// finding is the result of a check, with advice if it is not fine.
type finding struct {
	Verdict verdict `json:"status"`
	Check   string  `json:"check"`
	Text    string  `json:"detail"`
	// Fix lists what mends it: SQL for the owner of the database, which ends with a
	// semicolon, or a keyward command.
	Fix []string `json:"fix,omitempty"`
}

func newFinding(v verdict, check, format string, args ...any) finding {
	return finding{Verdict: v, Check: check, Text: fmt.Sprintf(format, args...)}
}

// report prints each finding in a line, or with asJSON all of them at the end.
type report struct {
	w        io.Writer
	asJSON   bool
	failed   bool
	findings []finding
}

func (r *report) addFinding(v verdict, what, format string, args ...any) {
	r.add(newFinding(v, what, format, args...))
}

// addFixed adds a finding with what mends it.
func (r *report) addFixed(v verdict, what string, fix []string, format string, args ...any) {
	f := newFinding(v, what, format, args...)
	f.Fix = fix
	r.add(f)
}

func (r *report) add(findings ...finding) {
	for _, f := range findings {
		r.failed = r.failed || f.Verdict == failure
		if r.findings = append(r.findings, f); !r.asJSON {
			fmt.Fprintf(r.w, "%s  %-14s  %s\n", f.Verdict, f.Check, f.Text)
			for _, fix := range f.Fix {
				fmt.Fprintf(r.w, "%20s  %s\n", "fix:", fix)
			}
		}
	}
}

// checkError reports good if err is nil, else err with advice. It returns whether err
// is nil.
func (r *report) checkError(what, good, advice string, err error) bool {
	if err != nil {
		r.addFinding(failure, what, "%v: %s", err, advice)
		return false
	}
	r.addFinding(fine, what, "%s", good)
	return true
}

// conclude prints the JSON document, if asked for. It returns errTold if a check
// has failed.
func (r *report) conclude() error {
	if r.asJSON {
		if err := json.NewEncoder(r.w).Encode(map[string]any{"ok": !r.failed, "findings": r.findings}); err != nil {
			return err
		}
	}
	if r.failed {
		return errReported
	}
	return nil
}

// examination is one run of doctor.
type examination struct {
	report
	p   *program
	db  *db.DB
	all bool

	authority *tenant.Authority // nil unless the master key is open
}

// Run is keyward doctor. It changes nothing. The configuration has been
// validated before.
func (c *doctorCmd) Run(ctx context.Context, p *program) error {
	r := report{w: p.stdout, asJSON: c.JSON}
	if c.Tenant != "" {
		return c.examineTenant(ctx, p, r)
	}
	e := &examination{report: r, p: p, all: c.All}
	e.checkConfiguration()
	e.openMasterKey(ctx)
	if d, err := p.openDB(ctx); err != nil {
		e.addFinding(failure, "database", "%v", err)
	} else {
		defer d.Close()
		e.db = d
		e.checkDatabase(ctx)
	}
	return e.conclude()
}

// checkDatabase runs the checks that need a database.
func (e *examination) checkDatabase(ctx context.Context) {
	if !e.checkError("database", "answers", "is it running, and is KEYWARD_DATABASE_URL right? A service that starts waits for it (KEYWARD_START_WAIT)", e.db.Ping(ctx)) ||
		!e.checkSession(ctx) || !e.checkSchema(ctx) {
		return
	}
	e.checkWrite(ctx)
	e.checkTransactions(ctx)
	e.checkRowSecurity(ctx)
	e.checkClock(ctx)
	e.checkListen(ctx)
	e.checkMasterKey(ctx)
	e.checkAuthority(ctx)
	e.checkProcesses(ctx)
	e.checkWorker(ctx)
	e.checkPublishing(ctx)
	e.checkCheckpoints(ctx)
	e.checkInvariants(ctx)
	e.checkHistories(ctx)
}
