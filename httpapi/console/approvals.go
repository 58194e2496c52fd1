package console

import (
	"cmp"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type approvalsPage struct {
	Items  []client.Approval
	Status string
	Next   string
	Error  string
	Mine   string // the visitor's actor id: nobody decides about their own request
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
	list, err := v.api.ListApprovals(v.r.Context(), v.Tenant.Slug, &params)
	if err != nil {
		return err
	}
	p.Items = list.Items
	if list.NextCursor != nil {
		p.Next = "status=" + query(p.Status) + "&cursor=" + query(*list.NextCursor)
	}
	return v.renderStatus(status, "approvals.html", "Approvals of "+tenantName(v.Tenant), p)
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
