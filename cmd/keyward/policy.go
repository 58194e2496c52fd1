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
	List   policyListCmd   `cmd:"" help:"List them, the default first."`
	Put    policyPutCmd    `cmd:"" help:"Create one, or replace it: what is not given gets its default."`
	Retire policyRetireCmd `cmd:"" help:"Stop signing by it; what it signed keeps verifying."`
}

type policyListCmd struct{ ofTenant }

// Run is keyward policy list.
func (c *policyListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	resp, err := api.Requests.ListPolicies(ctx, c.Tenant)
	return answered(p, c.JSON, resp, err, func(l client.PolicyList) error { return p.show(policyTable(l.Items...)) })
}

func policyTable(policies ...client.Policy) table {
	t := table{head: []string{"ALG", "DEFAULT", "ROTATES EVERY", "LEAD", "GRACE", "TOKENS", "LONGEST", "PURGE AFTER", "KEYS", "RSA BITS"}}
	for _, p := range policies {
		every := "by hand"
		if p.RotationIntervalSeconds > 0 {
			every = seconds(p.RotationIntervalSeconds)
		}
		t.add(string(p.Alg), map[bool]string{true: "yes", false: "-"}[p.Default], every, seconds(p.PublishLeadSeconds), seconds(p.GracePeriodSeconds),
			seconds(p.DefaultTokenTTLSeconds), seconds(p.MaxTokenTTLSeconds), seconds(p.PurgeAfterSeconds), strconv.Itoa(p.MaxPublishedKeys), maybe(p.RSABits, strconv.Itoa))
	}
	return t
}

type policyPutCmd struct {
	Alg              string  `arg:"" name:"alg" help:"The algorithm, as in ES256."`
	Default          *bool   `name:"default" help:"Sign by it where a request names no algorithm."`
	RSABits          *int    `name:"rsa-bits" placeholder:"BITS" help:"2048 (the default), 3072 or 4096."`
	RotationInterval *span   `name:"rotation-interval" placeholder:"DURATION" help:"How long a key signs; 0s: rotate by hand. Default: 30d."`
	PublishLead      *span   `name:"publish-lead" placeholder:"DURATION" help:"How long a key is published before it signs. Default: 1d."`
	GracePeriod      *span   `name:"grace-period" placeholder:"DURATION" help:"How long a key stays published after it signed last. Default: 7d."`
	PurgeAfter       *span   `name:"purge-after" placeholder:"DURATION" help:"When the public key is forgotten. Default: 90d."`
	DefaultTokenTTL  *span   `name:"default-token-ttl" placeholder:"DURATION" help:"Default: 15m."`
	MaxTokenTTL      *span   `name:"max-token-ttl" placeholder:"DURATION" help:"Default: 1d."`
	MaxPublishedKeys *int    `name:"max-published-keys" placeholder:"N" help:"Default: 16."`
	Body             *string `name:"body" placeholder:"JSON|@FILE|-" help:"The request as the API takes it; flags come before it."`
	trying
	ofTenant
}

// Run is keyward policy put.
func (c *policyPutCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	req, err := c.request(p)
	if err != nil {
		return err
	}
	resp, err := api.Requests.PutPolicyWithBody(ctx, c.Tenant, client.Alg(c.Alg), &client.PutPolicyParams{DryRun: c.wish()}, "application/json", bytes.NewReader(req))
	if c.DryRun {
		return answered(p, c.JSON, resp, err, p.wouldPut)
	}
	return answered(p, c.JSON, resp, err, func(one client.Policy) error { return p.show(policyTable(one)) })
}

// wouldPut shows the policy as it would be, and what the schedule makes of it.
func (p *program) wouldPut(r client.PolicyPreview) error {
	if r.Created {
		fmt.Fprintln(p.stdout, "The policy would be created, with an active and a standby key at once:")
	} else {
		fmt.Fprintln(p.stdout, "The policy would be replaced:")
	}
	if err := p.show(policyTable(r.Policy)); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout)
	return p.wouldHappen(r.Timeline)
}

func (c *policyPutCmd) request(p *program) ([]byte, error) {
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
		"purge_after_seconds": c.PurgeAfter, "default_token_ttl_seconds": c.DefaultTokenTTL, "max_token_ttl_seconds": c.MaxTokenTTL,
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
	if c.Default != nil {
		req["default"] = c.Default
	}
	return json.Marshal(req)
}

type policyRetireCmd struct {
	Alg string `arg:"" name:"alg" help:"The algorithm, as in RS256."`
	trying
	ofTenant
	asking
}

// Run is keyward policy retire. The API answers nothing.
func (c *policyRetireCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	if c.DryRun {
		resp, err := api.Requests.RetirePolicy(ctx, c.Tenant, client.Alg(c.Alg), &client.RetirePolicyParams{DryRun: c.wish()})
		return answered(p, c.JSON, resp, err, func(r client.RetirePreview) error { return p.wouldHappen(r.Timeline) })
	}
	if !c.Yes {
		s, err := standing(ctx, api, c.Tenant)
		if err != nil {
			return err
		}
		t := table{head: keyHead}
		for _, k := range s.published {
			if string(k.Alg) == c.Alg {
				t.add(keyRow(k)...)
			}
		}
		if err := t.print(p.stderr, width(p.stderr)); err != nil {
			return err
		}
		p.evidence("Nothing will be signed with %s any more: the active key is deprecated, the standby revoked. Tokens verify until the grace period is over.", c.Alg)
	}
	if err := c.confirm(p, "Retire "+c.Alg+" of "+c.Tenant+"?"); err != nil {
		return err
	}
	if _, err := client.Bytes(api.Requests.RetirePolicy(ctx, c.Tenant, client.Alg(c.Alg), nil)); err != nil {
		return err
	}
	return p.told(c.JSON, "%s of %s is retired.", c.Alg, c.Tenant)
}

// told says that something was done of which the API answers nothing: as JSON,
// an empty object.
func (p *program) told(asJSON bool, format string, args ...any) error {
	if asJSON {
		return p.printJSON([]byte("{}"))
	}
	_, err := fmt.Fprintf(p.stdout, format+"\n", args...)
	return err
}
