package console

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type approvalsPage struct {
	Items  []client.Approval
	Only   bool // the one that the address names
	Status string
	Next   string
	Error  string
	Mine   string // the visitor's actor id: nobody decides about their own request

	now map[string]json.RawMessage // values of settings and policies
}

func listApprovals(v *visit) error { return v.showApprovals("", 200) }

func (v *visit) showApprovals(wrong string, status int) error {
	if !v.Can("listApprovals") {
		return forbidden
	}
	if err := v.findTenant(); err != nil {
		return err
	}
	p := approvalsPage{Status: cmp.Or(v.Query("status"), "pending"), Error: wrong, Mine: v.Session.Actor.ID}
	params := client.ListApprovalsParams{Limit: new(40)}
	if p.Status != "all" {
		params.Status = new(client.ApprovalStatusFilter(p.Status))
	}
	if c := v.Query("cursor"); c != "" {
		params.Cursor = &c
	}
	var list client.ApprovalListResponse
	var policies client.PolicyList
	err := v.all(
		func(ctx context.Context) error { return v.readApprovals(ctx, &p, &params, &list) },
		into(v, "listPolicies", &policies, func(ctx context.Context) (*client.PolicyList, error) { return v.api.ListPolicies(ctx, v.Tenant.Slug) }),
	)
	if err != nil {
		return err
	}
	p.Items = list.Items
	if p.now, err = v.currentValues(policies.Items); err != nil {
		return err
	}
	if list.NextCursor != nil {
		p.Next = "status=" + query(p.Status) + "&cursor=" + query(*list.NextCursor)
	}
	return v.renderStatus(status, "approvals.html", "Approvals of "+tenantName(v.Tenant), p)
}

// readApprovals reads a page of approvals, or the one that the address names.
func (v *visit) readApprovals(ctx context.Context, p *approvalsPage, params *client.ListApprovalsParams, list *client.ApprovalListResponse) error {
	id, err := uuid.Parse(v.Query("approval"))
	if p.Only = err == nil; p.Only {
		one, err := v.api.GetApproval(ctx, v.Tenant.Slug, id)
		if err != nil {
			return err
		}
		list.Items = []client.Approval{*one}
		return nil
	}
	page, err := v.api.ListApprovals(ctx, v.Tenant.Slug, params)
	if err == nil {
		*list = *page
	}
	return err
}

// Changes returns what a request would change of settings and policies, and for one that
// waits what has changed since it was made.
func (p approvalsPage) Changes(a client.Approval) []valueChange {
	if a.Status != client.ApprovalStatusPending {
		return changesOf(a)
	}
	return changesFrom(a, p.now)
}

// decideApproval approves or rejects another person's request.
func decideApproval(v *visit) error {
	id, err := uuid.Parse(v.r.PathValue("approval"))
	if err != nil {
		return &pageError{404, "There is no such approval", "The address may be cut off."}
	}
	slug := v.r.PathValue("tenant")
	decide := v.api.RejectApproval
	if v.r.PostFormValue("do") == "approve" {
		decide = v.api.ApproveApproval
	}
	if _, err := decide(v.r.Context(), slug, id, client.NoOptions{}); err != nil {
		_, detail, shown := formErrors(err)
		if isProblem(err, client.ProblemCodeForbidden) {
			detail, shown = "You may not decide about this request: it is your own, or your role does not allow what it asks for.", true
		}
		if !shown {
			return err
		}
		return v.showApprovals(detail, 422)
	}
	return v.redirect("/console/tenants/" + slug + "/approvals?done=decided")
}
