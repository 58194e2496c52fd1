package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type approvalCmd struct {
	List    approvalListCmd    `cmd:"" help:"List approvals, newest first."`
	Show    approvalShowCmd    `cmd:"" help:"Show an approval."`
	Approve approvalApproveCmd `cmd:"" help:"Approve an operation that another person requested."`
	Reject  approvalRejectCmd  `cmd:"" help:"Reject an operation that another person requested."`
}

type approvalListCmd struct {
	Status string `name:"status" enum:",pending,approved,rejected,used,expired" default:"" placeholder:"STATUS" help:"Filter by status: pending, approved, rejected, used or expired."`
	listFlags
	tenantScope
}

// Run is keyward approval list.
func (c *approvalListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	params := client.ListApprovalsParams{Status: nonEmpty(client.ApprovalStatus(c.Status))}
	return printList(p, c.JSON, c.listFlags, rows[client.Approval]{
		head: []string{"ID", "OPERATION", "STATUS", "ASKED BY", "ASKED", "ENDS", "DECIDED BY"}, none: "No matching approvals.",
		row: func(a client.Approval) []string {
			return []string{a.ID.String(), string(a.Operation), string(a.Status), actorName(a.RequestedBy), formatTime(a.CreatedAt), formatTime(a.ExpiresAt), optionalText(a.DecidedBy, actorName)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		params.Limit, params.Cursor = limit, cursor
		return api.Requests.ListApprovals(ctx, c.Tenant, &params)
	})
}

// approvalArg holds the argument and flags of commands about one approval.
type approvalArg struct {
	ID uuid.UUID `arg:"" name:"id" help:"Select the approval by id, as keyward approval list prints it."`
	tenantScope
}

type approvalShowCmd struct{ approvalArg }

// Run is keyward approval show.
func (c *approvalShowCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetApproval(ctx, c.Tenant, c.ID)
	return printAnswer(p, c.JSON, resp, err, p.showApproval)
}

func (p *program) showApproval(a client.Approval) error { return p.printTable(approvalTable(a)) }

func approvalTable(a client.Approval) table {
	var out table
	out.add("id", a.ID.String())
	out.add("operation", string(a.Operation))
	out.add("request", a.OperationID+" "+a.Path)
	out.add("effects", joinOperations(a.Effects))
	for _, c := range a.Changes {
		out.add("would change", changeText(c))
	}
	out.add("status", string(a.Status))
	out.add("asked by", actorLabel(a.RequestedBy))
	out.add("asked", formatTime(a.CreatedAt))
	out.add("ends", formatTime(a.ExpiresAt))
	if a.DecidedBy != nil {
		out.add("decided by", actorLabel(*a.DecidedBy))
	}
	if a.DecidedAt != nil {
		out.add("decided", formatTime(*a.DecidedAt))
	}
	if a.UsedAt != nil {
		out.add("used", formatTime(*a.UsedAt))
	}
	return out
}

// changeText returns a value that a request would change, as in
// "ES256 grace_period_seconds: 604800 to 86400".
func changeText(c client.ApprovalChange) string {
	name := c.Field
	if c.Alg != nil {
		name = *c.Alg + " " + name
	}
	if c.TooLong != nil && *c.TooLong {
		return name + ": a value that is too long to be shown"
	}
	return name + ": " + cmp.Or(string(c.Before), "none") + " to " + cmp.Or(string(c.After), "none")
}

// actorName returns an actor's name for a table, or its id if it has none.
func actorName(a client.Actor) string {
	if a.Name != "" {
		return a.Name
	}
	return a.ID
}

func actorLabel(a client.Actor) string {
	return fmt.Sprintf("%s (%s %s)", orDash(a.Name), a.Type, a.ID)
}

type approvalApproveCmd struct {
	approvalArg
	confirmFlag
}

// Run is keyward approval approve.
func (c *approvalApproveCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := c.previewApproval(ctx, p, api); err != nil {
			return err
		}
	}
	if err := c.confirm(p, "Approve it?"); err != nil {
		return err
	}
	resp, err := api.Requests.ApproveApproval(ctx, c.Tenant, c.ID, client.NoOptions{})
	return printAnswer(p, c.JSON, resp, err, p.showApproval)
}

// previewApproval prints the approval and its effect. Keyward stores only the
// operation and a digest of the request, so the effect is computed from the
// present state.
func (c *approvalApproveCmd) previewApproval(ctx context.Context, p *program, api *client.Client) error {
	a, err := api.GetApproval(ctx, c.Tenant, c.ID)
	if err != nil {
		return err
	}
	t := approvalTable(*a)
	if err := t.print(p.stderr, terminalWidth(p.stderr)); err != nil {
		return err
	}
	if a.Status != client.ApprovalStatusPending {
		return fmt.Errorf("the approval is %s: there is nothing to decide", a.Status)
	}
	if err := c.previewOperation(ctx, p, api, a); err != nil {
		return err
	}
	p.printNote("After your approval %s can execute it once, before %s. Keyward stores the operation and a digest of the request, not its content: ask them for the details.",
		actorName(a.RequestedBy), formatTime(a.ExpiresAt))
	return nil
}

// previewOperation prints the effect of an operation in the present state.
func (c *approvalApproveCmd) previewOperation(ctx context.Context, p *program, api *client.Client, a *client.Approval) error {
	switch a.OperationID {
	case "importKey":
		p.printNote("One or more keys will be imported into %s: a private one, which may sign at once, or public ones, with which tokens will verify.", c.Tenant)
		return nil
	case "updateTenant":
		if a.Operation != client.ApprovalOperationRelax {
			return nil
		}
		t, err := api.GetTenant(ctx, c.Tenant)
		if err != nil {
			return err
		}
		p.printNote("Some or all of these operations will no longer need an approval: %s.", joinOperations(t.ApprovalRequired))
		return nil
	case "deleteTenant":
		_, err := p.previewDeletion(ctx, api, c.Tenant)
		return err
	case "purgeKeys":
		_, err := p.previewPurge(ctx, api, c.Tenant)
		return err
	case "revokeAllKeys":
		return p.previewRevokeAll(ctx, api, c.Tenant)
	}
	return nil // what it concerns is in the path
}

// joinOperations lists operations, separated by commas.
func joinOperations(list []client.GuardedOperation) string {
	text := ""
	for i, op := range list {
		if i > 0 {
			text += ", "
		}
		text += string(op)
	}
	return orDash(text)
}

type approvalRejectCmd struct{ approvalArg }

// Run is keyward approval reject. It does not ask for confirmation, because the
// requester can request again.
func (c *approvalRejectCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.RejectApproval(ctx, c.Tenant, c.ID, client.NoOptions{})
	return printAnswer(p, c.JSON, resp, err, p.showApproval)
}
