package main

import (
	"context"
	"net/http"

	"github.com/keyward/keyward/client"
)

type domainCmd struct {
	Add    domainAddCmd    `cmd:"" help:"Add a host, and print the TXT record that proves its ownership."`
	List   domainListCmd   `cmd:"" help:"List the claimed and verified hosts of a tenant."`
	Verify domainVerifyCmd `cmd:"" help:"Verify a host by its TXT record."`
	Remove domainRemoveCmd `cmd:"" help:"Remove a host, so that another tenant may verify it."`
}

// domainArg holds the argument and flags of commands about one host.
type domainArg struct {
	Domain string `arg:"" name:"domain" help:"Name the host, as in id.acme.example."`
	tenantScope
}

type domainAddCmd struct{ domainArg }

// Run is keyward domain add.
func (c *domainAddCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.AddDomain(ctx, c.Tenant, client.AddDomainRequest{Domain: c.Domain})
	return printAnswer(p, c.JSON, resp, err, func(d client.Domain) error {
		p.printNote("Create this TXT record, then call: keyward domain verify --tenant %s %s", c.Tenant, d.Domain)
		return p.showDomain(d)
	})
}

type domainListCmd struct {
	listFlags
	tenantScope
}

// Run is keyward domain list.
func (c *domainListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	return printList(p, c.JSON, c.listFlags, rows[client.Domain]{
		head: []string{"DOMAIN", "CLAIMED", "VERIFIED", "TXT VALUE"}, none: "No domains.",
		row: func(d client.Domain) []string {
			return []string{d.Domain, formatTime(d.CreatedAt), optionalText(d.VerifiedAt, formatTime), d.TxtValue}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		return api.Requests.ListDomains(ctx, c.Tenant, &client.ListDomainsParams{Limit: limit, Cursor: cursor})
	})
}

type domainVerifyCmd struct {
	domainArg
	approvalFlag
}

// Run is keyward domain verify.
func (c *domainVerifyCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.VerifyDomain(ctx, c.Tenant, c.Domain, c.requestEditors()...)
	return printAnswer(p, c.JSON, resp, err, p.showDomain)
}

type domainRemoveCmd struct {
	domainArg
	approvalFlag
	confirmFlag
}

// Run is keyward domain remove. The API's answer has no body.
func (c *domainRemoveCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	p.printNote("Another tenant that owns %s will be able to verify it.", c.Domain)
	if err := c.confirm(p, "Remove it?"); err != nil {
		return err
	}
	if _, err := client.Bytes(api.Requests.RemoveDomain(ctx, c.Tenant, c.Domain, c.requestEditors()...)); err != nil {
		return err
	}
	return p.printDone(c.JSON, "%s is removed.", c.Domain)
}

func (p *program) showDomain(d client.Domain) error {
	var out table
	out.add("domain", d.Domain)
	out.add("txt name", d.TxtName)
	out.add("txt value", d.TxtValue)
	out.add("claimed", formatTime(d.CreatedAt))
	out.add("verified", optionalText(d.VerifiedAt, formatTime))
	return p.printTable(out)
}
