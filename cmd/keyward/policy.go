package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/keyward/keyward/client"
)

type policyCmd struct {
	List   policyListCmd   `cmd:"" help:"List a tenant's policies, the default first."`
	Put    policyPutCmd    `cmd:"" help:"Create or replace a policy: omitted fields are reset to their defaults."`
	Retire policyRetireCmd `cmd:"" help:"Retire a policy: stop signing with its algorithm; its tokens keep verifying."`
}

type policyListCmd struct{ tenantScope }

// Run is keyward policy list.
func (c *policyListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.ListPolicies(ctx, c.Tenant)
	return printAnswer(p, c.JSON, resp, err, func(l client.PolicyList) error { return p.printTable(policyTable(l.Items...)) })
}

func policyTable(policies ...client.Policy) table {
	t := table{head: []string{"ALG", "DEFAULT", "ROTATES EVERY", "LEAD", "GRACE", "TOKENS", "LONGEST", "PURGE AFTER", "KEYS", "RSA BITS"}}
	for _, p := range policies {
		every := "by hand"
		if p.RotationIntervalSeconds > 0 {
			every = formatSeconds(p.RotationIntervalSeconds)
		}
		t.add(string(p.Alg), map[bool]string{true: "yes", false: "-"}[p.Default], every, formatSeconds(p.PublishLeadSeconds), formatSeconds(p.GracePeriodSeconds),
			formatSeconds(p.DefaultTokenTTLSeconds), formatSeconds(p.MaxTokenTTLSeconds), formatSeconds(p.PurgeAfterSeconds), strconv.Itoa(p.MaxPublishedKeys), optionalText(p.RSABits, strconv.Itoa))
	}
	return t
}

type policyPutCmd struct {
	Alg              string   `arg:"" name:"alg" help:"Select the algorithm, as in ES256."`
	Default          *bool    `name:"default" help:"Make this the policy for requests that name no algorithm."`
	RSABits          *int     `name:"rsa-bits" placeholder:"BITS" help:"Set the RSA key size: 2048, 3072 or 4096. Default: 2048."`
	RotationInterval *span    `name:"rotation-interval" placeholder:"DURATION" help:"Rotate this often; 0s: only by hand. Default: 30d."`
	PublishLead      *span    `name:"publish-lead" placeholder:"DURATION" help:"Publish a key this long before it signs. Default: 1d."`
	GracePeriod      *span    `name:"grace-period" placeholder:"DURATION" help:"Keep a key published this long after it last signed. Default: 7d."`
	PurgeAfter       *span    `name:"purge-after" placeholder:"DURATION" help:"Purge a public key this long after it expired or was revoked. Default: 90d."`
	DefaultTokenTTL  *span    `name:"default-token-ttl" placeholder:"DURATION" help:"Set the token lifetime for requests without one. Default: 15m."`
	MaxTokenTTL      *span    `name:"max-token-ttl" placeholder:"DURATION" help:"Limit the token lifetime. Default: 1d."`
	MaxPublishedKeys *int     `name:"max-published-keys" placeholder:"N" help:"Limit the number of published keys. Default: 16."`
	MinAdoption      *float64 `name:"min-adoption" placeholder:"SHARE" help:"Wait until this share of the verifiers has fetched the next key, as in 0.95. Default: 0."`
	MaxAdoptionWait  *span    `name:"max-adoption-wait" placeholder:"DURATION" help:"Wait for verifiers no longer than this. Default: 7d."`
	Body             *string  `name:"body" placeholder:"JSON|@FILE|-" help:"Send this JSON request body; flags override its members."`
	dryRunFlag
	approvalFlag
	tenantScope
}

// Run is keyward policy put.
func (c *policyPutCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	req, err := c.requestBody(p)
	if err != nil {
		return err
	}
	resp, err := api.Requests.PutPolicyWithBody(ctx, c.Tenant, client.Alg(c.Alg), &client.PutPolicyParams{DryRun: c.param()}, "application/json", bytes.NewReader(req), c.requestEditors()...)
	if c.DryRun {
		return printAnswer(p, c.JSON, resp, err, p.printPolicyPreview)
	}
	return printAnswer(p, c.JSON, resp, err, func(one client.Policy) error { return p.printTable(policyTable(one)) })
}

// printPolicyPreview prints the policy of a dry run and the resulting schedule.
func (p *program) printPolicyPreview(r client.PolicyPreview) error {
	if r.Created {
		fmt.Fprintln(p.stdout, "The policy would be created, with an active and a standby key at once:")
	} else {
		fmt.Fprintln(p.stdout, "The policy would be replaced:")
	}
	if err := p.printTable(policyTable(r.Policy)); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout)
	for _, w := range r.Warnings {
		fmt.Fprintf(p.stdout, "Warning: %s\n\n", w)
	}
	return p.printTimeline(r.Timeline)
}

func (c *policyPutCmd) requestBody(p *program) ([]byte, error) {
	req := map[string]any{}
	if c.Body != nil {
		text, err := p.readObject("--body", *c.Body)
		if err == nil {
			err = json.Unmarshal(text, &req)
		}
		if err != nil {
			return nil, err
		}
	}
	for name, value := range map[string]*span{
		"rotation_interval_seconds": c.RotationInterval, "publish_lead_seconds": c.PublishLead, "grace_period_seconds": c.GracePeriod,
		"purge_after_seconds": c.PurgeAfter, "default_token_ttl_seconds": c.DefaultTokenTTL, "max_token_ttl_seconds": c.MaxTokenTTL, "max_adoption_wait_seconds": c.MaxAdoptionWait,
	} {
		if value != nil {
			req[name] = value.seconds()
		}
	}
	for name, value := range map[string]*int{"rsa_bits": c.RSABits, "max_published_keys": c.MaxPublishedKeys} {
		if value != nil {
			req[name] = value
		}
	}
	if c.MinAdoption != nil {
		req["min_adoption"] = c.MinAdoption
	}
	if c.Default != nil {
		req["default"] = c.Default
	}
	return json.Marshal(req)
}

type policyRetireCmd struct {
	Alg string `arg:"" name:"alg" help:"Select the algorithm, as in RS256."`
	dryRunFlag
	approvalFlag
	tenantScope
	confirmFlag
}

// Run is keyward policy retire. The API's answer has no body.
func (c *policyRetireCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	if c.DryRun {
		resp, err := api.Requests.RetirePolicy(ctx, c.Tenant, client.Alg(c.Alg), &client.RetirePolicyParams{DryRun: c.param()})
		return printAnswer(p, c.JSON, resp, err, func(r client.RetirePreview) error { return p.printTimeline(r.Timeline) })
	}
	if !c.Yes {
		s, err := loadKeyEvidence(ctx, api, c.Tenant)
		if err != nil {
			return err
		}
		t := table{head: keyHead}
		for _, k := range s.published {
			if string(k.Alg) == c.Alg {
				t.add(keyRow(k)...)
			}
		}
		if err := t.print(p.stderr, terminalWidth(p.stderr)); err != nil {
			return err
		}
		p.printNote("Nothing will be signed with %s any more: the active key is deprecated, the standby revoked. Its tokens verify until the end of the grace period.", c.Alg)
	}
	if err := c.confirm(p, "Retire "+c.Alg+" of "+c.Tenant+"?"); err != nil {
		return err
	}
	if _, err := client.Bytes(api.Requests.RetirePolicy(ctx, c.Tenant, client.Alg(c.Alg), nil, c.requestEditors()...)); err != nil {
		return err
	}
	return p.printDone(c.JSON, "%s of %s is retired.", c.Alg, c.Tenant)
}

// printDone reports success of an operation without an API answer; as JSON, an
// empty object.
func (p *program) printDone(asJSON bool, format string, args ...any) error {
	if asJSON {
		return p.printJSON([]byte("{}"))
	}
	_, err := fmt.Fprintf(p.stdout, format+"\n", args...)
	return err
}
