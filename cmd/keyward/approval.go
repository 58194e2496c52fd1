package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type approvalCmd struct {
	List    approvalListCmd    `cmd:"" help:"List them, newest first."`
	Show    approvalShowCmd    `cmd:"" help:"Show one."`
	Approve approvalApproveCmd `cmd:"" help:"Agree to what somebody else asked to do."`
	Reject  approvalRejectCmd  `cmd:"" help:"Refuse what somebody else asked to do."`
}

type approvalListCmd struct {
	Status string `name:"status" enum:",pending,approved,rejected,used,expired" default:"" placeholder:"STATUS" help:"Only those that are pending, approved, rejected, used or expired."`
	listing
	ofTenant
}

// Run is keyward approval list.
func (c *approvalListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	params := client.ListApprovalsParams{Status: given(client.ApprovalStatus(c.Status))}
	return list(p, c.JSON, c.listing, rows[client.Approval]{
		head: []string{"ID", "OPERATION", "STATUS", "ASKED BY", "ASKED", "ENDS", "DECIDED BY"}, none: "There is no such approval.",
		row: func(a client.Approval) []string {
			return []string{a.ID.String(), string(a.Operation), string(a.Status), named(a.RequestedBy), when(a.CreatedAt), when(a.ExpiresAt), maybe(a.DecidedBy, named)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		params.Limit, params.Cursor = limit, cursor
		return api.Requests.ListApprovals(ctx, c.Tenant, &params)
	})
}

// anApproval names an approval of a tenant.
type anApproval struct {
	ID uuid.UUID `arg:"" name:"id" help:"As keyward approval list shows it."`
	ofTenant
}

type approvalShowCmd struct{ anApproval }

// Run is keyward approval show.
func (c *approvalShowCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetApproval(ctx, c.Tenant, c.ID)
	return answered(p, c.JSON, resp, err, p.showApproval)
}

func (p *program) showApproval(a client.Approval) error { return p.show(approvalTable(a)) }

func approvalTable(a client.Approval) table {
	var out table
	out.add("id", a.ID.String())
	out.add("operation", string(a.Operation))
	out.add("status", string(a.Status))
	out.add("asked by", identified(a.RequestedBy))
	out.add("asked", when(a.CreatedAt))
	out.add("ends", when(a.ExpiresAt))
	if a.DecidedBy != nil {
		out.add("decided by", identified(*a.DecidedBy))
	}
	if a.DecidedAt != nil {
		out.add("decided", when(*a.DecidedAt))
	}
	if a.UsedAt != nil {
		out.add("used", when(*a.UsedAt))
	}
	return out
}

// named is an actor in a table; identified is one that cannot be mistaken.
func named(a client.Actor) string {
	if a.Name != "" {
		return a.Name
	}
	return a.ID
}

func identified(a client.Actor) string {
	return fmt.Sprintf("%s (%s %s)", dash(a.Name), a.Type, a.ID)
}

type approvalApproveCmd struct {
	anApproval
	asking
}

// Run is keyward approval approve.
func (c *approvalApproveCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := c.foretell(ctx, p, api); err != nil {
			return err
		}
	}
	if err := c.confirm(p, "Agree to it?"); err != nil {
		return err
	}
	resp, err := api.Requests.ApproveApproval(ctx, c.Tenant, c.ID, client.NoOptions{})
	return answered(p, c.JSON, resp, err, p.showApproval)
}

// foretell says what there is to agree to. Of the request Keyward knows the
// operation alone: what it cannot tell, it says so.
func (c *approvalApproveCmd) foretell(ctx context.Context, p *program, api *client.Client) error {
	a, err := api.GetApproval(ctx, c.Tenant, c.ID)
	if err != nil {
		return err
	}
	t := approvalTable(*a)
	if err := t.print(p.stderr, width(p.stderr)); err != nil {
		return err
	}
	if a.Status != client.ApprovalStatusPending {
		return fmt.Errorf("the approval is %s: there is nothing to decide", a.Status)
	}
	if err := c.consequences(ctx, p, api, a.Operation); err != nil {
		return err
	}
	p.evidence("Once you agree, %s can do it, once, before %s. Keyward keeps the operation and a digest of the request, not its content: ask them for the rest.",
		named(a.RequestedBy), when(a.ExpiresAt))
	return nil
}

// consequences are what the operation does as things are now.
func (c *approvalApproveCmd) consequences(ctx context.Context, p *program, api *client.Client, op client.ApprovalOperation) error {
	switch op {
	case client.ApprovalOperationImport:
		p.evidence("A key, or several, will come into %s: a private one that may sign at once, or public ones whose tokens will verify.", c.Tenant)
		return nil
	case client.ApprovalOperationRelax:
		t, err := api.GetTenant(ctx, c.Tenant)
		if err != nil {
			return err
		}
		p.evidence("Operations will need no second person any more: some or all of %s.", operations(t.ApprovalRequired))
		return nil
	case client.ApprovalOperationDelete:
		_, err := p.foretellDeletion(ctx, api, c.Tenant)
		return err
	case client.ApprovalOperationPurge:
		_, err := p.foretellPurge(ctx, api, c.Tenant)
		return err
	}
	return p.foretellRevokeAll(ctx, api, c.Tenant)
}

// operations are those that need a second person.
func operations(list []client.GuardedOperation) string {
	text := ""
	for i, op := range list {
		if i > 0 {
			text += ", "
		}
		text += string(op)
	}
	return dash(text)
}

type approvalRejectCmd struct{ anApproval }

// Run is keyward approval reject. Whoever asked can ask again, so it asks
// nobody.
func (c *approvalRejectCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	resp, err := api.Requests.RejectApproval(ctx, c.Tenant, c.ID, client.NoOptions{})
	return answered(p, c.JSON, resp, err, p.showApproval)
}
