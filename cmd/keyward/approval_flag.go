package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// approvalFlag is shared by commands that may need a second person's approval.
type approvalFlag struct {
	Approval *uuid.UUID `name:"approval" placeholder:"ID" help:"Use a second person's approval: the id that the first attempt printed."`
}

// requestEditors adds the approval, if given, to a request's editors.
func (a approvalFlag) requestEditors(more ...client.RequestEditorFn) []client.RequestEditorFn {
	if a.Approval != nil {
		more = append(more, client.Approved(*a.Approval))
	}
	return more
}

// explainApproval replaces the error of an operation that awaits approval or
// whose approval was not accepted by instructions. again is the command line
// that repeats the same request, without --approval and without secrets.
func (a approvalFlag) explainApproval(p *program, r remoteFlags, tenant string, err error, again ...string) error {
	waits, refused := (*client.ApprovalError)(nil), (*client.Problem)(nil)
	switch {
	case errors.As(err, &waits):
		return p.printPendingApproval(r, tenant, waits.Approval, again)
	case a.Approval != nil && errors.As(err, &refused) && (refused.Code == client.ProblemCodeConflict || refused.Code == client.ProblemCodeNotFound):
		return fmt.Errorf("%w\n  %s shows the status of the approval; the command without --approval requests a new one",
			err, shellCommand(r, "approval", "show", "--tenant", tenant, a.Approval.String()))
	}
	return err
}

// printPendingApproval prints the commands for the second person and for the
// requester, and with --json the approval. It returns errReported.
func (p *program) printPendingApproval(r remoteFlags, tenant string, a client.Approval, again []string) error {
	p.printNote("Nothing was changed yet: %s requires a second person's approval (%s). It must be given and used before %s.", tenant, a.Operation, formatTime(a.ExpiresAt))
	p.printNote("A second person, with a credential of their own, runs:\n  %s", shellCommand(r, "approval", "approve", "--tenant", tenant, a.ID.String()))
	at := slices.Index(again, "--") // what follows is no flag
	if at < 0 {
		at = len(again)
	}
	again = slices.Insert(slices.Clone(again), at, "--approval", a.ID.String())
	p.printNote("Then you run, with the same credential as now:\n  %s", shellCommand(r, again...))
	if r.JSON {
		if err := json.NewEncoder(p.stdout).Encode(a); err != nil {
			return err
		}
	}
	return errReported
}

func (r remoteFlags) remote() remoteFlags { return r }

// approvalTenant returns the tenant in the path of a request that awaits approval; the
// platform's if there is none.
func approvalTenant(a client.Approval) string {
	_, rest, found := strings.Cut(a.Path, "/tenants/")
	if name, _, _ := strings.Cut(rest, "/"); found {
		return name
	}
	return tenant.PlatformSlug
}

// ownWords returns the words of a command line without those that shellCommand adds, a
// used approval, and a credential.
func ownWords(args []string) (words []string) {
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(args[i], "=")
		switch name {
		case "--url", "--api-key", "--approval":
			if !joined {
				i++
			}
		case "--allow-http":
		default:
			words = append(words, args[i])
		}
	}
	return words
}

// shellCommand returns a shell command line that calls keyward with the same
// URL.
func shellCommand(r remoteFlags, words ...string) string {
	at := slices.Index(words, "--")
	if at < 0 {
		at = len(words)
	}
	if r.AllowHTTP {
		words = slices.Insert(slices.Clone(words), at, "--allow-http")
	}
	if r.URL != defaultURL {
		words = slices.Insert(slices.Clone(words), at, "--url", r.URL)
	}
	line := "keyward"
	for _, word := range words {
		line += " " + shellQuote(word)
	}
	return line
}

// flagWords returns --name=value for each pair with a value. The = allows a
// value to begin with a dash.
func flagWords(pairs ...string) (given []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			given = append(given, pairs[i]+"="+pairs[i+1])
		}
	}
	return given
}
