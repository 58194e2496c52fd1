package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/durations"
	"github.com/keyward/keyward/tenant"
)

// waitingPage is a page of the approvals of all tenants that wait.
type waitingPage struct {
	Items []struct {
		Approval client.Approval `json:"approval"`
		Slug     string          `json:"slug"` // of the tenant
		Name     string          `json:"name"`
	} `json:"items"`
	NextCursor string `json:"next_cursor"`
	Mine       string `json:"-"` // the visitor's actor id
	Later      bool   `json:"-"` // it is not the first page
}

// Next returns the query of the next page, "" on the last.
func (p waitingPage) Next() string {
	if p.NextCursor == "" {
		return ""
	}
	return "cursor=" + query(p.NextCursor)
}

// perWaiting is how many approvals the page of all tenants shows.
const perWaiting = 20

// listWaiting shows what waits for a second person: of all tenants to the platform's
// people, of their own to a tenant's.
func listWaiting(v *visit) error {
	switch {
	case !v.Can("listApprovals"):
		return forbidden
	case !v.OfPlatform():
		return v.redirect("/console/tenants/" + v.Session.TenantID.String() + "/approvals")
	}
	text, err := v.c.cfg.Waiting(v.r.Context(), perWaiting, v.Query("cursor"))
	if errors.Is(err, tenant.ErrBadCursor) {
		return &pageError{http.StatusBadRequest, "There is no such page of the list", "The address may be cut off: begin with the first page."}
	}
	if err != nil {
		return err
	}
	p := waitingPage{Mine: v.Session.Actor.ID, Later: v.Query("cursor") != ""}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	return v.render("waiting.html", "Approvals", p)
}

// valueChange is a value that a request would change, in words.
type valueChange struct {
	Label, Before, After string
	Now                  string // other than Before; "" if it is the same, or not known
}

// changesOf returns what an approval would change of settings and policies.
func changesOf(a client.Approval) []valueChange { return changesFrom(a, nil) }

// changesFrom is changesOf with the values of now, by the algorithm and field: one that is
// absent is not set. nil: they are not known.
func changesFrom(a client.Approval, now map[string]json.RawMessage) (out []valueChange) {
	for _, c := range a.Changes {
		line := valueChange{Label: fieldLabel(c.Field), Before: valueWord(c.Field, c.Before), After: valueWord(c.Field, c.After)}
		alg := ""
		if c.Alg != nil {
			alg = *c.Alg
			line.Label = alg + ": " + line.Label
		}
		if c.TooLong != nil && *c.TooLong {
			line.Before, line.After = "a long value", "another long value"
		} else if is := valueWord(c.Field, now[alg+"."+c.Field]); now != nil && is != line.Before {
			line.Now = is
		}
		out = append(out, line)
	}
	return out
}

// fieldLabel returns the name of a field of settings or of a policy as the forms have it.
func fieldLabel(field string) string {
	if label, ok := map[string]string{
		"name": "Name", "issuer": "Issuer", "custom_domain": "Custom domain", "clock_skew_seconds": "Clock skew", "jwks_max_age_seconds": "JWKS max-age",
		"jwks_stale_while_revalidate_seconds": "JWKS stale-while-revalidate", "jwks_stale_if_error_seconds": "JWKS stale-if-error", "approval_required": "A second person for",
		"not_before": "Tokens have nbf", "status": "Status", "freeze_windows": "Freeze windows", "metadata": "Metadata of discovery", "jwks_path": "Further path of the JWKS", "jwks_headers": "Headers of the JWKS",
		"rotation_interval_seconds": "Rotation interval", "publish_lead_seconds": "Publish lead", "grace_period_seconds": "Grace period", "max_token_ttl_seconds": "Longest token",
		"default_token_ttl_seconds": "Usual token", "purge_after_seconds": "Purge after", "max_published_keys": "Most published keys", "min_adoption": "Wait for verifiers",
		"max_adoption_wait_seconds": "Wait no longer than", "rsa_bits": "RSA bits", "default": "Signs by default",
	}[field]; ok {
		return label
	}
	return field
}

// valueWord returns a value of a field in words.
func valueWord(field string, value json.RawMessage) string {
	var decoded any
	if len(value) == 0 || json.Unmarshal(value, &decoded) != nil {
		return "none"
	}
	switch v := decoded.(type) {
	case nil:
		return "none"
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case string:
		if v == "" {
			return "none"
		}
		return v
	case float64:
		if strings.HasSuffix(field, "_seconds") {
			return durations.Words(seconds(int64(v)))
		}
		if field == "min_adoption" {
			return percent(v)
		}
	case []any:
		if len(v) == 0 {
			return "none"
		}
		if field == "approval_required" {
			words := make([]string, len(v))
			for i, op := range v {
				words[i] = operationWord(op)
			}
			return strings.Join(words, ", ")
		}
	}
	same, err := json.Marshal(decoded) // whoever has written it: members in their order, no spaces
	if err != nil {
		return string(value)
	}
	return string(same)
}

// currentValues returns the settings and policies of a tenant by algorithm and field, as
// approvals name them.
func (v *visit) currentValues(policies []client.Policy) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	t := *v.Tenant
	settings, err := fieldsOf(t)
	if err != nil {
		return nil, err
	}
	if t.Issuer == v.PublicURL()+"/t/"+t.Slug {
		settings["issuer"] = json.RawMessage("null") // it follows from the slug
	}
	for field, value := range settings {
		all["."+field] = value
	}
	for _, p := range policies {
		fields, err := fieldsOf(p)
		if err != nil {
			return nil, err
		}
		for field, value := range fields {
			all[string(p.Alg)+"."+field] = value
		}
	}
	return all, nil
}

// fieldsOf returns the members of an answer of the API.
func fieldsOf(answer any) (map[string]json.RawMessage, error) {
	text, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(text, &fields)
}
