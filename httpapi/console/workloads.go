package console

import (
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type workloadsPage struct {
	form
	Items []client.WorkloadIdentity
	Next  string
	Roles []string
}

// Lifetime returns the longest lifetime of a workload's tokens in words.
func (p workloadsPage) Lifetime(w client.WorkloadIdentity) string {
	return secondsText(int64(w.MaxTokenLifetimeSeconds))
}

// listWorkloads shows whose tokens are credentials of the tenant.
func listWorkloads(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	return v.showWorkloads(form{Values: url.Values{}}, 200)
}

func (v *visit) showWorkloads(f form, status int) error {
	if !v.Can("listWorkloadIdentities") {
		return forbidden
	}
	params := client.ListWorkloadIdentitiesParams{Limit: new(50)}
	if c := v.Query("cursor"); c != "" {
		params.Cursor = &c
	}
	list, err := v.api.ListWorkloadIdentities(v.r.Context(), v.Tenant.Slug, &params)
	if err != nil {
		return err
	}
	p := workloadsPage{form: f, Items: list.Items, Roles: []string{"tenant_auditor", "tenant_verifier", "tenant_signer", "tenant_admin"}}
	p.Nonce = client.NewKey()
	if list.NextCursor != nil {
		p.Next = "cursor=" + query(*list.NextCursor)
	}
	return v.renderStatus(status, "workloads.html", "Workloads of "+tenantName(v.Tenant), p)
}

// createWorkload makes tokens of another issuer credentials of the tenant.
func createWorkload(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	f := form{Values: v.r.PostForm, Fields: map[string]string{}}
	body := readWorkload(f.Values, f.Fields)
	if len(f.Fields) > 0 {
		return v.showWorkloads(f, 422)
	}
	_, err := v.api.CreateWorkloadIdentity(v.r.Context(), v.Tenant.Slug, body, v.changes()...)
	if err == nil {
		return v.redirect(v.Base() + "/workloads?done=created")
	}
	if shown, err := v.showAwaiting(err); shown {
		return err
	}
	var shown bool
	if f.Fields, f.Error, shown = formErrorsOf(err, ruleNames(body.Rules)); !shown {
		return err
	}
	return v.showWorkloads(f, 422)
}

// readWorkload reads the fields of a workload identity, and notes their faults.
func readWorkload(values url.Values, wrong map[string]string) client.CreateWorkloadIdentityRequest {
	text := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	body := client.CreateWorkloadIdentityRequest{
		Name: text("name"), Issuer: text("issuer"), Audience: text("audience"), Role: client.CreateWorkloadIdentityRequestRole(text("role")),
		Rules: append(readRules(values, wrong, "rules"), readRules(values, wrong, "prefixes")...),
	}
	setText(&body.JWKSURI, values, "jwks_uri")
	if lifetime := text("max_token_lifetime_seconds"); lifetime != "" {
		n, err := parseDuration(lifetime)
		if err != nil {
			wrong["max_token_lifetime_seconds"] = errDuration.Error()
		}
		body.MaxTokenLifetimeSeconds = new(int(n))
	}
	if at := text("expires_at"); at != "" {
		t, err := parseTime(at)
		if err != nil {
			wrong["expires_at"] = wrongTime
		}
		body.ExpiresAt = &t
	}
	return body
}

// readRules reads the lines of a field, as in sub=system:serviceaccount:payments:api. Several
// values of one claim are one rule, which any of them satisfies; several prefixes are not.
func readRules(values url.Values, wrong map[string]string, name string) (rules []client.ClaimRule) {
	ofClaim := map[string]int{}
	for line := range strings.Lines(values.Get(name)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		claim, value, ok := strings.Cut(line, "=")
		claim, value = strings.TrimSpace(claim), strings.TrimSpace(value)
		i, again := ofClaim[claim]
		switch {
		case !ok:
			wrong[name] = "write claim=value on each line"
		case name == "prefixes":
			rules = append(rules, client.ClaimRule{Claim: claim, Prefix: &value})
		case again && rules[i].Equals != nil:
			rules[i].OneOf, rules[i].Equals = []string{*rules[i].Equals, value}, nil
		case again:
			rules[i].OneOf = append(rules[i].OneOf, value)
		default:
			ofClaim[claim] = len(rules)
			rules = append(rules, client.ClaimRule{Claim: claim, Equals: &value})
		}
	}
	return rules
}

// ruleNames tells the fields and the claims of rules, which the API numbers.
func ruleNames(rules []client.ClaimRule) func(list string, i int) (field, item string) {
	return func(list string, i int) (field, item string) {
		switch {
		case list != "rules" || i < 0 || i >= len(rules):
			return "", ""
		case rules[i].Prefix != nil:
			return "prefixes", rules[i].Claim
		}
		return "rules", rules[i].Claim
	}
}

func deleteWorkload(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	id, err := uuid.Parse(v.r.PostForm.Get("id"))
	if err != nil {
		return &pageError{404, "There is no such workload identity", "It may have been deleted already."}
	}
	err = v.api.DeleteWorkloadIdentity(v.r.Context(), v.Tenant.Slug, id, v.changes()...)
	if shown, err := v.showAwaiting(err); shown {
		return err
	}
	if err != nil {
		return err
	}
	return v.redirect(v.Base() + "/workloads?done=deleted")
}
