package console

import (
	"net/url"
	"strings"

	"github.com/keyward/keyward/client"
)

type domainsPage struct {
	form
	Items  []client.Domain
	Issuer string // the host of the tenant's issuer
	Custom string
	Next   string
}

// InUse reports whether the tenant names a host, which then cannot be removed.
func (p domainsPage) InUse(host string) bool { return host == p.Issuer || host == p.Custom }

func listDomains(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	return v.showDomains(form{Values: url.Values{}}, 200)
}

func (v *visit) showDomains(f form, status int) error {
	if !v.Can("listDomains") {
		return forbidden
	}
	params := client.ListDomainsParams{Limit: new(100)}
	if c := v.Query("cursor"); c != "" {
		params.Cursor = &c
	}
	list, err := v.api.ListDomains(v.r.Context(), v.Tenant.Slug, &params)
	if err != nil {
		return err
	}
	p := domainsPage{form: f, Items: list.Items}
	p.Nonce = client.NewKey()
	if u, err := url.Parse(v.Tenant.Issuer); err == nil {
		p.Issuer = u.Hostname()
	}
	p.Custom, _ = v.Tenant.CustomDomain.Get() // absent: none
	if list.NextCursor != nil {
		p.Next = "cursor=" + query(*list.NextCursor)
	}
	return v.renderStatus(status, "domains.html", "Domains of "+tenantName(v.Tenant), p)
}

// changeDomains claims, verifies or removes a host.
func changeDomains(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	ctx, slug, host, do := v.r.Context(), v.Tenant.Slug, strings.TrimSpace(v.r.PostForm.Get("domain")), v.r.PostForm.Get("do")
	var err error
	switch do {
	case "claim":
		_, err = client.Bytes(v.api.Requests.AddDomain(ctx, slug, client.AddDomainRequest{Domain: host}, v.changes()...))
	case "verify":
		_, err = v.api.VerifyDomain(ctx, slug, host, v.changes()...)
	case "remove":
		err = v.api.RemoveDomain(ctx, slug, host, v.changes()...)
	default:
		return errAct
	}
	if err == nil {
		return v.redirect(v.Base() + "/domains?done=" + do + "&domain=" + query(host))
	}
	if shown, err := v.showAwaiting(err); shown {
		return err
	}
	fields, detail, shown := formErrors(err)
	if !shown {
		return err
	}
	if do != "claim" { // the fault is not one of the form for a new host
		for _, message := range fields {
			detail = strings.TrimSpace(detail + " " + message + ".")
		}
		fields = nil
	}
	return v.showDomains(form{Values: v.r.PostForm, Fields: fields, Error: detail}, 422)
}
