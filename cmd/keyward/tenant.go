package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/keyward/keyward/client"
)

type tenantCmd struct {
	Create        tenantCreateCmd      `cmd:"" help:"Create one that can sign."`
	List          tenantListCmd        `cmd:"" help:"List them, newest first."`
	Show          tenantShowCmd        `cmd:"" help:"Show one."`
	Update        tenantUpdateCmd      `cmd:"" help:"Change its settings."`
	Suspend       tenantSuspendCmd     `cmd:"" help:"Stop its signing; what it signed keeps verifying."`
	Resume        tenantResumeCmd      `cmd:"" help:"Let it sign again."`
	Delete        tenantDeleteCmd      `cmd:"" help:"Delete it and destroy its keys, for good."`
	Certificate   tenantCertificateCmd `cmd:"" help:"Print the certificate of what the deletion of a tenant destroyed."`
	RotateDataKey rotateDataKeyCmd     `cmd:"" name:"rotate-data-key" help:"Seal its private keys under a new data key and destroy the old one, while it signs."`
	JWKS          jwksCmd              `cmd:"" name:"jwks" help:"Write its JWK Set, as verifiers get it, to a file or the standard output."`
}

// aTenant names a tenant by argument or by flag.
type aTenant struct {
	Name   string `arg:"" optional:"" name:"slug" help:"Slug or id; or --tenant."`
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" placeholder:"SLUG" help:"The same as a flag."`
	remote
}

func (t aTenant) named() (string, error) {
	if t.Name != "" {
		return t.Name, nil
	}
	if t.Tenant == "" {
		return "", &usageError{"which tenant? give its slug or id, as an argument or by --tenant (KEYWARD_TENANT)"}
	}
	return t.Tenant, nil
}

// openNamed is open, with the tenant that is meant.
func (t aTenant) openNamed() (*client.Client, string, error) {
	name, err := t.named()
	if err != nil {
		return nil, "", err
	}
	c, err := t.open()
	return c, name, err
}

type tenantListCmd struct {
	Q      string `name:"search" placeholder:"TEXT" help:"Only those with this in slug or name."`
	Status string `name:"status" enum:",active,suspended" default:"" help:"Only the active or the suspended ones."`
	listing
	remote
}

// Run is keyward tenant list.
func (c *tenantListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	params := client.ListTenantsParams{Q: given(c.Q), Status: given(client.TenantStatus(c.Status))}
	return list(p, c.JSON, c.listing, rows[client.Tenant]{
		head: []string{"SLUG", "STATUS", "NAME", "CREATED", "ID", "ISSUER"}, none: "There is no such tenant.",
		row: func(t client.Tenant) []string {
			return []string{t.Slug, string(t.Status), dash(t.Name), when(t.CreatedAt), t.ID.String(), t.Issuer}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		params.Limit, params.Cursor = limit, cursor
		return api.Requests.ListTenants(ctx, &params)
	})
}

// given is an optional value of the API, nil for a flag that was not given.
func given[T ~string](v T) *T {
	if v == "" {
		return nil
	}
	return &v
}

type tenantShowCmd struct{ aTenant }

// Run is keyward tenant show.
func (c *tenantShowCmd) Run(ctx context.Context, p *program) error {
	api, name, err := c.openNamed()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetTenant(ctx, name)
	return answered(p, c.JSON, resp, err, p.showTenant)
}

func (p *program) showTenant(t client.Tenant) error {
	domain := "-"
	if name, err := t.CustomDomain.Get(); err == nil {
		domain = name
	}
	var out table
	out.add("slug", t.Slug)
	out.add("name", dash(t.Name))
	out.add("id", t.ID.String())
	out.add("status", string(t.Status))
	out.add("issuer", t.Issuer)
	out.add("custom domain", domain)
	out.add("JWKS caching", fmt.Sprintf("max-age %s, stale-while-revalidate %s, stale-if-error %s",
		seconds(t.JWKSMaxAgeSeconds), seconds(t.JWKSStaleWhileRevalidateSeconds), seconds(t.JWKSStaleIfErrorSeconds)))
	out.add("clock skew", seconds(t.ClockSkewSeconds))
	out.add("not before", maybe(t.NotBefore, when))
	out.add("approval required", operations(t.ApprovalRequired))
	addMembers(&out, "metadata", t.Metadata)
	out.add("created", when(t.CreatedAt))
	out.add("updated", when(t.UpdatedAt))
	return p.show(out)
}

// addMembers adds a line for each member of an object, texts without quotes.
func addMembers(out *table, label string, object *client.JSONObject) {
	var members map[string]json.RawMessage
	if object == nil || json.Unmarshal(*object, &members) != nil || len(members) == 0 {
		out.add(label, "-")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := string(members[name])
		var unquoted string
		if json.Unmarshal(members[name], &unquoted) == nil {
			value = unquoted
		}
		out.add(label, name+": "+value)
		label = ""
	}
}

type (
	tenantSuspendCmd struct {
		aTenant
		asking
	}
	tenantResumeCmd struct{ aTenant }
)

// Run is keyward tenant suspend.
func (c *tenantSuspendCmd) Run(ctx context.Context, p *program) error {
	name, err := c.named()
	if err != nil {
		return err
	}
	p.evidence("%s will sign no token until it is resumed. Its JWKS stays, so tokens already issued keep verifying.", name)
	if err := c.ask(p, "Suspend "+name+"?"); err != nil {
		return err
	}
	return c.set(ctx, p, []byte(`{"status":"suspended"}`))
}

// Run is keyward tenant resume.
func (c *tenantResumeCmd) Run(ctx context.Context, p *program) error {
	return c.set(ctx, p, []byte(`{"status":"active"}`))
}

// set changes a tenant and shows it.
func (t aTenant) set(ctx context.Context, p *program, changes []byte, edit ...client.RequestEditorFn) error {
	api, name, err := t.openNamed()
	if err != nil {
		return err
	}
	resp, err := api.Requests.UpdateTenantWithBody(ctx, name, nil, "application/json", bytes.NewReader(changes), edit...)
	return answered(p, t.JSON, resp, err, p.showTenant)
}
