package main

import (
	"context"
	"encoding/json"
	"strings"
)

// tenantSettings are the flags for the settings of a tenant.
type tenantSettings struct {
	Label                string            `name:"name" placeholder:"TEXT" help:"Set a description for people."`
	Issuer               string            `name:"issuer" placeholder:"URL" help:"Set the iss of its tokens. Default: derived from public URL and slug."`
	CustomDomain         string            `name:"custom-domain" placeholder:"HOST" help:"Serve its JWKS on this host name too."`
	MaxAge               *span             `name:"jwks-max-age" placeholder:"DURATION" help:"Set how long verifiers may cache its JWKS. Default: 5m."`
	StaleWhileRevalidate *span             `name:"jwks-stale-while-revalidate" placeholder:"DURATION" help:"Set stale-while-revalidate of its JWKS. Default: 60s."`
	StaleIfError         *span             `name:"jwks-stale-if-error" placeholder:"DURATION" help:"Set stale-if-error of its JWKS. Default: 1d."`
	ClockSkew            *span             `name:"clock-skew" placeholder:"DURATION" help:"Set the allowed clock skew. Default: 60s."`
	ApprovalRequired     []string          `name:"approval-required" placeholder:"OPERATION" enum:"revoke,revoke_all,import,purge,delete,policy,api_keys,settings" help:"Require approval of: ${enum}. Replaces the list."`
	Metadata             *string           `name:"metadata" placeholder:"JSON|@FILE|-" help:"Add these members to its discovery documents; {} clears them."`
	JWKSPath             string            `name:"jwks-path" placeholder:"PATH" help:"Serve its JWKS at this path too, as in auth/keys."`
	JWKSHeaders          map[string]string `name:"jwks-header" mapsep:"none" placeholder:"NAME=VALUE" help:"Send this header with its JWKS; may be repeated."`
	Body                 *string           `name:"body" placeholder:"JSON|@FILE|-" help:"Send this JSON request body; flags override its members."`
}

// requestBody builds the request from flags and --body. Settings without a flag
// are omitted.
func (f tenantSettings) requestBody(p *program) (map[string]any, error) {
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
	for name, value := range map[string]string{"name": f.Label, "issuer": f.Issuer, "custom_domain": f.CustomDomain, "jwks_path": f.JWKSPath} {
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
	if f.JWKSHeaders != nil {
		req["jwks_headers"] = f.JWKSHeaders
	}
	if f.ApprovalRequired != nil {
		req["approval_required"] = f.ApprovalRequired
	}
	return req, nil
}

type tenantCreateCmd struct {
	Name   string   `arg:"" optional:"" name:"slug" help:"Set the slug, part of URLs and issuer: lower-case letters, digits, hyphens."`
	Tenant string   `name:"tenant" aliases:"slug" placeholder:"SLUG" help:"Select the tenant by slug or id, in place of the argument."`
	Algs   []string `name:"alg" placeholder:"ALG" help:"Sign with this algorithm, the default first; may be repeated. Default: ES256."`
	tenantSettings
	remoteFlags
}

// Run is keyward tenant create.
func (c *tenantCreateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	req, err := c.requestBody(p)
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
	resp, err := api.Requests.CreateTenantWithBody(ctx, "application/json", strings.NewReader(string(body)))
	return printAnswer(p, c.JSON, resp, err, p.showTenant)
}

type tenantUpdateCmd struct {
	tenantArg
	NotBefore *moment  `name:"not-before" placeholder:"TIME" help:"Reject tokens issued before this time."`
	Clear     []string `name:"clear" placeholder:"SETTING" enum:"name,issuer,custom-domain,jwks-max-age,jwks-stale-while-revalidate,jwks-stale-if-error,clock-skew,not-before,approval-required,metadata,jwks-path,jwks-headers" help:"Reset a setting to its default; may be repeated. One of ${enum}."`
	tenantSettings
	approvalFlag
}

// Run is keyward tenant update. Removing an operation from approval_required
// itself needs an approval.
func (c *tenantUpdateCmd) Run(ctx context.Context, p *program) error {
	req, err := c.requestBody(p)
	if err != nil {
		return err
	}
	if c.NotBefore != nil {
		req["not_before"] = c.NotBefore.time()
	}
	for _, setting := range c.Clear {
		name := strings.ReplaceAll(setting, "-", "_")
		if strings.HasPrefix(name, "jwks_") && name != "jwks_path" && name != "jwks_headers" || name == "clock_skew" {
			name += "_seconds"
		}
		if _, set := req[name]; set {
			return &usageError{"--clear " + setting + " and --" + setting + " contradict each other"}
		}
		req[name] = nil
	}
	if len(req) == 0 {
		return &usageError{"no change given; see keyward tenant update --help"}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	err = c.patchTenant(ctx, p, body, c.requestEditors()...)
	name, _ := c.tenantName()
	return c.explainApproval(p, c.remoteFlags, name, err, "tenant", "update", name, "--body", string(body))
}
