package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type workloadCmd struct {
	Create workloadCreateCmd `cmd:"" help:"Create a workload identity: accept tokens of another issuer as credentials."`
	List   workloadListCmd   `cmd:"" help:"List the workload identities of a tenant, newest first."`
	Show   workloadShowCmd   `cmd:"" help:"Show a workload identity."`
	Delete workloadDeleteCmd `cmd:"" help:"Delete a workload identity, with immediate effect."`
}

type workloadCreateCmd struct {
	Name        string        `name:"name" required:"" help:"Set the name by which the history calls the workload."`
	Issuer      string        `name:"issuer" required:"" placeholder:"URL" help:"Accept tokens with this iss."`
	Audience    string        `name:"audience" required:"" placeholder:"TEXT" help:"Accept tokens with this aud, and no other beside it."`
	JWKSURI     string        `name:"jwks-uri" placeholder:"URL" help:"Fetch the issuer's keys here. Default: discovery."`
	Rules       []string      `name:"rule" sep:"none" placeholder:"CLAIM=VALUE" help:"Require this value of a claim; may be repeated, for the same claim with each value that is accepted."`
	Prefixes    []string      `name:"rule-prefix" sep:"none" placeholder:"CLAIM=PREFIX" help:"Require a value of a claim that begins so, as in sub=spiffe://example.org/ns/payments/; may be repeated."`
	Role        string        `name:"role" required:"" placeholder:"ROLE" help:"Grant this role: tenant_admin, tenant_signer, tenant_auditor or tenant_verifier."`
	MaxLifetime time.Duration `name:"max-token-lifetime" placeholder:"DURATION" help:"Limit the lifetime of accepted tokens, 1m to 24h. Default: 1h."`
	ExpiresIn   time.Duration `name:"expires-in" placeholder:"DURATION" help:"Set the lifetime of the identity, as in 720h. Default: unlimited."`
	approvalFlag
	tenantScope
}

// Run is keyward workload create.
func (c *workloadCreateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	body, err := c.request()
	if err != nil {
		return err
	}
	resp, err := api.Requests.CreateWorkloadIdentity(ctx, c.Tenant, body, c.requestEditors()...)
	return printAnswer(p, c.JSON, resp, err, func(w client.WorkloadIdentity) error {
		p.printNote("Its tokens are now credentials of %s, as in: keyward token sign --tenant %s --api-key \"$TOKEN\"", c.Tenant, c.Tenant)
		return p.showWorkload(w)
	})
}

func (c *workloadCreateCmd) request() (client.CreateWorkloadIdentityRequest, error) {
	body := client.CreateWorkloadIdentityRequest{
		Name: c.Name, Issuer: c.Issuer, Audience: c.Audience, JWKSURI: nonEmpty(c.JWKSURI), Role: client.CreateWorkloadIdentityRequestRole(c.Role),
	}
	if c.MaxLifetime != 0 {
		if c.MaxLifetime%time.Second != 0 {
			return body, &usageError{"--max-token-lifetime must be whole seconds, as in 10m"}
		}
		body.MaxTokenLifetimeSeconds = new(int(c.MaxLifetime / time.Second))
	}
	if c.ExpiresIn < 0 {
		return body, &usageError{"--expires-in must be a duration above 0, as in 720h"}
	}
	if c.ExpiresIn > 0 {
		body.ExpiresAt = new(utcNow().Add(c.ExpiresIn))
	}
	var err error
	body.Rules, err = claimRules(c.Rules, c.Prefixes)
	return body, err
}

// claimRules converts flags: several values of one claim are one rule.
func claimRules(values, prefixes []string) (rules []client.ClaimRule, err error) {
	index := map[string]int{}
	for _, text := range values {
		claim, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, &usageError{"--rule must be CLAIM=VALUE, as in sub=system:serviceaccount:payments:api"}
		}
		i, again := index[claim]
		switch {
		case !again:
			index[claim] = len(rules)
			rules = append(rules, client.ClaimRule{Claim: claim, Equals: &value})
		case rules[i].Equals != nil:
			rules[i].OneOf, rules[i].Equals = []string{*rules[i].Equals, value}, nil
		default:
			rules[i].OneOf = append(rules[i].OneOf, value)
		}
	}
	for _, text := range prefixes {
		claim, prefix, ok := strings.Cut(text, "=")
		if !ok {
			return nil, &usageError{"--rule-prefix must be CLAIM=PREFIX, as in sub=repo:octo-org/"}
		}
		rules = append(rules, client.ClaimRule{Claim: claim, Prefix: &prefix})
	}
	return rules, nil
}

type workloadListCmd struct {
	listFlags
	tenantScope
}

// Run is keyward workload list.
func (c *workloadListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	return printList(p, c.JSON, c.listFlags, rows[client.WorkloadIdentity]{
		head: []string{"ID", "NAME", "ROLE", "ISSUER", "RULES", "EXPIRES", "LAST USED", "MADE BY"}, none: "No items.",
		row: func(w client.WorkloadIdentity) []string {
			return []string{w.ID.String(), w.Name, string(w.Role), w.Issuer, rulesText(w.Rules), optionalText(w.ExpiresAt, formatTime), optionalText(w.LastUsedAt, formatTime), actorLabel(w.CreatedBy)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		return api.Requests.ListWorkloadIdentities(ctx, c.Tenant, &client.ListWorkloadIdentitiesParams{Limit: limit, Cursor: cursor})
	})
}

// workloadArg holds the argument and flags of commands about one workload identity.
type workloadArg struct {
	ID uuid.UUID `arg:"" name:"id" help:"Select the workload identity by id, as keyward workload list prints it."`
	tenantScope
}

type workloadShowCmd struct{ workloadArg }

// Run is keyward workload show.
func (c *workloadShowCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetWorkloadIdentity(ctx, c.Tenant, c.ID)
	return printAnswer(p, c.JSON, resp, err, p.showWorkload)
}

type workloadDeleteCmd struct {
	workloadArg
	approvalFlag
	confirmFlag
}

// Run is keyward workload delete. The API's answer has no body.
func (c *workloadDeleteCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	p.printNote("Tokens that sign in by the workload identity %s will be refused at once.", c.ID)
	if err := c.confirm(p, "Delete it?"); err != nil {
		return err
	}
	if _, err := client.Bytes(api.Requests.DeleteWorkloadIdentity(ctx, c.Tenant, c.ID, c.requestEditors()...)); err != nil {
		return err
	}
	return p.printDone(c.JSON, "%s is deleted.", c.ID)
}

func (p *program) showWorkload(w client.WorkloadIdentity) error {
	var out table
	out.add("id", w.ID.String())
	out.add("name", w.Name)
	out.add("role", string(w.Role))
	out.add("issuer", w.Issuer)
	out.add("audience", w.Audience)
	out.add("keys", optionalText(w.JWKSURI, orDash))
	out.add("rules", rulesText(w.Rules))
	out.add("token lifetime", (time.Duration(w.MaxTokenLifetimeSeconds) * time.Second).String())
	out.add("created", formatTime(w.CreatedAt))
	out.add("expires", optionalText(w.ExpiresAt, formatTime))
	out.add("last used", optionalText(w.LastUsedAt, formatTime))
	out.add("made by", actorLabel(w.CreatedBy))
	return p.printTable(out)
}

func rulesText(rules []client.ClaimRule) string {
	var texts []string
	for _, r := range rules {
		switch {
		case r.Equals != nil:
			texts = append(texts, r.Claim+"="+*r.Equals)
		case r.Prefix != nil:
			texts = append(texts, r.Claim+"="+*r.Prefix+"…")
		default:
			texts = append(texts, r.Claim+"="+strings.Join(r.OneOf, "|"))
		}
	}
	return strings.Join(texts, ", ")
}
