package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

// approving is the flag of what a tenant can want a second person for.
type approving struct {
	Approval *uuid.UUID `name:"approval" placeholder:"ID" help:"The approval of a second person, where the tenant asks for one: the id that the first try printed."`
}

// edit has a request bring the approval.
func (a approving) edit(more ...client.RequestEditorFn) []client.RequestEditorFn {
	if a.Approval != nil {
		more = append(more, client.Approved(*a.Approval))
	}
	return more
}

// concluded is the end of an operation that may have to wait for a second
// person. again are the words of the command that repeats the very same
// request, without --approval; they hold no secret.
func (a approving) concluded(p *program, r remote, tenant string, err error, again ...string) error {
	waits, refused := (*client.ApprovalError)(nil), (*client.Problem)(nil)
	switch {
	case errors.As(err, &waits):
		return p.waits(r, tenant, waits.Approval, again)
	case a.Approval != nil && errors.As(err, &refused) && (refused.Code == client.ProblemCodeConflict || refused.Code == client.ProblemCodeNotFound):
		return fmt.Errorf("%w\n  %s tells what became of the approval; the command without --approval asks for a new one",
			err, command(r, "approval", "show", "--tenant", tenant, a.Approval.String()))
	}
	return err
}

// waits says that nothing is done yet, and who has to do what.
func (p *program) waits(r remote, tenant string, a client.Approval, again []string) error {
	p.evidence("Nothing is done yet: %s asks for a second person's approval (%s). It has to be given and used before %s.", tenant, a.Operation, when(a.ExpiresAt))
	p.evidence("A second person, with a credential of their own, runs:\n  %s", command(r, "approval", "approve", "--tenant", tenant, a.ID.String()))
	p.evidence("Then you, with the credential that you have just used:\n  %s", command(r, append(again, "--approval", a.ID.String())...))
	if r.JSON {
		if err := json.NewEncoder(p.stdout).Encode(a); err != nil {
			return err
		}
	}
	return errTold
}

// command is a line for a shell that reaches the same Keyward.
func command(r remote, words ...string) string {
	if r.URL != defaultURL {
		words = append(words, "--url", r.URL)
	}
	if r.AllowHTTP {
		words = append(words, "--allow-http")
	}
	line := "keyward"
	for _, word := range words {
		line += " " + shellQuote(word)
	}
	return line
}

// words are the flags that have a value, of pairs of name and value. A value may
// begin with a dash.
func words(pairs ...string) (given []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			given = append(given, pairs[i]+"="+pairs[i+1])
		}
	}
	return given
}
