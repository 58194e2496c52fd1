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
	Create        tenantCreateCmd      `cmd:"" help:"Create a tenant, ready to sign."`
	List          tenantListCmd        `cmd:"" help:"List tenants, newest first."`
	Show          tenantShowCmd        `cmd:"" help:"Show a tenant."`
	Update        tenantUpdateCmd      `cmd:"" help:"Change a tenant's settings."`
	Suspend       tenantSuspendCmd     `cmd:"" help:"Suspend a tenant: it cannot sign; its tokens keep verifying."`
	Resume        tenantResumeCmd      `cmd:"" help:"Resume a suspended tenant."`
	Delete        tenantDeleteCmd      `cmd:"" help:"Delete a tenant and destroy its keys, permanently."`
	Certificate   tenantCertificateCmd `cmd:"" help:"Print the certificate of destruction of a deleted tenant."`
	RotateDataKey rotateDataKeyCmd     `cmd:"" name:"rotate-data-key" help:"Re-seal a tenant's private keys under a new data key, online."`
	Export        tenantExportCmd      `cmd:"" help:"Write a tenant's keys to a directory, for another system."`
	JWKS          jwksCmd              `cmd:"" name:"jwks" help:"Write a tenant's JWK Set, as verifiers get it."`
}

// tenantArg names a tenant by argument or by flag.
type tenantArg struct {
	Name   string `arg:"" optional:"" name:"slug" help:"Select the tenant by slug or id."`
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" placeholder:"SLUG" help:"Select the tenant by slug or id, in place of the argument."`
	remoteFlags
}

func (t tenantArg) tenantName() (string, error) {
	if t.Name != "" {
		return t.Name, nil
	}
	if t.Tenant == "" {
		return "", &usageError{"no tenant: give its slug or id, as an argument or with --tenant (KEYWARD_TENANT)"}
	}
	return t.Tenant, nil
}

// openTenant returns the client and the selected tenant.
func (t tenantArg) openTenant() (*client.Client, string, error) {
	name, err := t.tenantName()
	if err != nil {
		return nil, "", err
	}
	c, err := t.openClient()
	return c, name, err
}

type tenantListCmd struct {
	Q       string `name:"search" placeholder:"TEXT" help:"Filter by text in slug or name."`
	Status  string `name:"status" enum:",active,suspended" default:"" help:"Filter by status: active or suspended."`
	Alg     string `name:"alg" placeholder:"ALG" help:"Filter by the algorithm of a policy."`
	Problem string `name:"problem" enum:",no_standby,overdue,suspended,verifiers_behind,large_set,old_algorithm" default:"" help:"Filter by what is wrong: no_standby, overdue, suspended, verifiers_behind, large_set or old_algorithm."`
	listFlags
	remoteFlags
}

// Run is keyward tenant list.
func (c *tenantListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	params := client.ListTenantsParams{Q: nonEmpty(c.Q), Status: nonEmpty(client.TenantStatus(c.Status)), Alg: nonEmpty(client.Alg(c.Alg)), Problem: nonEmpty(client.TenantProblem(c.Problem))}
	return printList(p, c.JSON, c.listFlags, rows[client.Tenant]{
		head: []string{"SLUG", "STATUS", "NAME", "CREATED", "ID", "ISSUER"}, none: "No matching tenants.",
		row: func(t client.Tenant) []string {
			return []string{t.Slug, string(t.Status), orDash(t.Name), formatTime(t.CreatedAt), t.ID.String(), t.Issuer}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		params.Limit, params.Cursor = limit, cursor
		return api.Requests.ListTenants(ctx, &params)
	})
}

// nonEmpty returns a pointer to v, nil for a flag that was not given.
func nonEmpty[T ~string](v T) *T {
	if v == "" {
		return nil
	}
	return &v
}

type tenantShowCmd struct{ tenantArg }

// Run is keyward tenant show.
func (c *tenantShowCmd) Run(ctx context.Context, p *program) error {
	api, name, err := c.openTenant()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetTenant(ctx, name)
	return printAnswer(p, c.JSON, resp, err, p.showTenant)
}

func (p *program) showTenant(t client.Tenant) error {
	domain := "-"
	if name, err := t.CustomDomain.Get(); err == nil {
		domain = name
	}
	var out table
	out.add("slug", t.Slug)
	out.add("name", orDash(t.Name))
	out.add("id", t.ID.String())
	out.add("status", string(t.Status))
	out.add("issuer", t.Issuer)
	out.add("custom domain", domain)
	out.add("JWKS caching", fmt.Sprintf("max-age %s, stale-while-revalidate %s, stale-if-error %s",
		formatSeconds(t.JWKSMaxAgeSeconds), formatSeconds(t.JWKSStaleWhileRevalidateSeconds), formatSeconds(t.JWKSStaleIfErrorSeconds)))
	out.add("clock skew", formatSeconds(t.ClockSkewSeconds))
	out.add("not before", optionalText(t.NotBefore, formatTime))
	out.add("approval required", joinOperations(t.ApprovalRequired))
	addMembers(&out, "metadata", t.Metadata)
	out.add("JWKS path", optionalText(t.JWKSPath, stringOf))
	for _, name := range slices.Sorted(maps.Keys(t.JWKSHeaders)) {
		out.add("JWKS header", name+": "+t.JWKSHeaders[name])
	}
	out.add("created", formatTime(t.CreatedAt))
	out.add("updated", formatTime(t.UpdatedAt))
	return p.printTable(out)
}

// addMembers adds a line for each member of an object, with strings unquoted.
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
		tenantArg
		approvalFlag
		confirmFlag
	}
	tenantResumeCmd struct {
		tenantArg
		approvalFlag
	}
)

// Run is keyward tenant suspend.
func (c *tenantSuspendCmd) Run(ctx context.Context, p *program) error {
	name, err := c.tenantName()
	if err != nil {
		return err
	}
	p.printNote("%s will sign no token until it is resumed. Its JWKS stays published, so tokens already issued keep verifying.", name)
	if err := c.confirmIfTerminal(p, "Suspend "+name+"?"); err != nil {
		return err
	}
	return c.patchTenant(ctx, p, []byte(`{"status":"suspended"}`), c.requestEditors()...)
}

// Run is keyward tenant resume.
func (c *tenantResumeCmd) Run(ctx context.Context, p *program) error {
	return c.patchTenant(ctx, p, []byte(`{"status":"active"}`), c.requestEditors()...)
}

// patchTenant changes a tenant and prints it.
func (t tenantArg) patchTenant(ctx context.Context, p *program, changes []byte, edit ...client.RequestEditorFn) error {
	api, name, err := t.openTenant()
	if err != nil {
		return err
	}
	resp, err := api.Requests.UpdateTenantWithBody(ctx, name, "application/json", bytes.NewReader(changes), edit...)
	return printAnswer(p, t.JSON, resp, err, p.showTenant)
}
