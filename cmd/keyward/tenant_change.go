package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/keyward/keyward/client"
)

// tenantFlags are the settings of a tenant.
type tenantFlags struct {
	Label                string   `name:"name" placeholder:"TEXT" help:"What people know it by."`
	Issuer               string   `name:"issuer" placeholder:"URL" help:"Its tokens' iss. Default: made of the public URL and the slug."`
	CustomDomain         string   `name:"custom-domain" placeholder:"HOST" help:"A host name that answers with its JWKS."`
	MaxAge               *span    `name:"jwks-max-age" placeholder:"DURATION" help:"How long verifiers may cache its JWKS. Default: 5m."`
	StaleWhileRevalidate *span    `name:"jwks-stale-while-revalidate" placeholder:"DURATION" help:"Default: 60s."`
	StaleIfError         *span    `name:"jwks-stale-if-error" placeholder:"DURATION" help:"Default: 1d."`
	ClockSkew            *span    `name:"clock-skew" placeholder:"DURATION" help:"How far clocks may differ. Default: 60s."`
	ApprovalRequired     []string `name:"approval-required" placeholder:"OPERATION" enum:"revoke_all,import,purge,delete" help:"What needs a second person's approval, all of it: ${enum}; with commas between, or repeated. Default: nothing."`
	Metadata             *string  `name:"metadata" placeholder:"JSON|@FILE|-" help:"What its discovery documents say besides, such as the endpoints of its own login. It replaces what was there; {} clears."`
	Body                 *string  `name:"body" placeholder:"JSON|@FILE|-" help:"The request as the API takes it; flags come before it."`
}

// request is what the flags and the body make. Absent members stay absent.
func (f tenantFlags) request(p *program) (map[string]any, error) {
	req := map[string]any{}
	if f.Body != nil {
		text, err := p.readObject("--body", *f.Body)
		if err != nil {
			return nil, err
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, err
		}
		for name, value := range members {
			req[name] = value
		}
	}
	for name, value := range map[string]string{"name": f.Label, "issuer": f.Issuer, "custom_domain": f.CustomDomain} {
		if value != "" {
			req[name] = value
		}
	}
	if f.Metadata != nil {
		members, err := p.readObject("--metadata", *f.Metadata)
		if err != nil {
			return nil, err
		}
		req["metadata"] = members
	}
	for name, value := range map[string]*span{
		"jwks_max_age_seconds": f.MaxAge, "jwks_stale_while_revalidate_seconds": f.StaleWhileRevalidate,
		"jwks_stale_if_error_seconds": f.StaleIfError, "clock_skew_seconds": f.ClockSkew,
	} {
		if value != nil {
			req[name] = value.seconds()
		}
	}
	if f.ApprovalRequired != nil {
		req["approval_required"] = f.ApprovalRequired
	}
	return req, nil
}

type tenantCreateCmd struct {
	Name   string   `arg:"" optional:"" name:"slug" help:"What URLs and issuers call it: lower-case letters, digits, hyphens."`
	Tenant string   `name:"tenant" aliases:"slug" placeholder:"SLUG" help:"The same as a flag."`
	Algs   []string `name:"alg" placeholder:"ALG" help:"What it signs with, the default first; may be repeated. Default: ES256."`
	tenantFlags
	remote
}

// Run is keyward tenant create.
func (c *tenantCreateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	req, err := c.request(p)
	if err != nil {
		return err
	}
	if slug := c.Name + c.Tenant; slug != "" {
		req["slug"] = slug
	}
	if _, named := req["slug"]; !named || c.Name != "" && c.Tenant != "" {
		return &usageError{"name the tenant once: keyward tenant create SLUG"}
	}
	var policies []map[string]any
	for i, alg := range c.Algs {
		policies = append(policies, map[string]any{"alg": alg, "default": i == 0})
	}
	if policies != nil {
		req["policies"] = policies
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	resp, err := api.Requests.CreateTenantWithBody(ctx, nil, "application/json", strings.NewReader(string(body)), client.Once(client.NewKey()))
	return answered(p, c.JSON, resp, err, p.showTenant)
}

type tenantUpdateCmd struct {
	aTenant
	NotBefore *moment  `name:"not-before" placeholder:"TIME" help:"Refuse tokens issued earlier."`
	Clear     []string `name:"clear" placeholder:"SETTING" enum:"name,issuer,custom-domain,jwks-max-age,jwks-stale-while-revalidate,jwks-stale-if-error,clock-skew,not-before,approval-required,metadata" help:"Back to the default: ${enum}; may be repeated."`
	tenantFlags
	approving
}

// Run is keyward tenant update. To take something off the list of what needs a
// second person needs one itself.
func (c *tenantUpdateCmd) Run(ctx context.Context, p *program) error {
	req, err := c.request(p)
	if err != nil {
		return err
	}
	if c.NotBefore != nil {
		req["not_before"] = c.NotBefore.time()
	}
	for _, setting := range c.Clear {
		name := strings.ReplaceAll(setting, "-", "_")
		if strings.HasPrefix(name, "jwks_") || name == "clock_skew" {
			name += "_seconds"
		}
		if _, set := req[name]; set {
			return &usageError{"--clear " + setting + " and --" + setting + " contradict each other"}
		}
		req[name] = nil
	}
	if len(req) == 0 {
		return &usageError{"what shall change? see keyward tenant update --help"}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	err = c.set(ctx, p, body, c.edit()...)
	name, _ := c.named()
	return c.concluded(p, c.remote, name, err, "tenant", "update", name, "--body", string(body))
}
