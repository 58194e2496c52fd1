package console

import (
	"net/url"

	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/client"
)

// guardable are the operations for which a tenant can ask for a second person.
var guardable = []string{"revoke_all", "import", "purge", "delete"}

type settingsPage struct {
	form
	Guarded map[string]bool
	Guards  []string
	Redo    string
	Awaits  *client.Approval
}

func showSettings(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	t := v.Tenant
	values := url.Values{
		"name": {t.Name}, "issuer": {t.Issuer}, "jwks_max_age_seconds": {durationText(t.JWKSMaxAgeSeconds)},
		"jwks_stale_while_revalidate_seconds": {durationText(t.JWKSStaleWhileRevalidateSeconds)},
		"jwks_stale_if_error_seconds":         {durationText(t.JWKSStaleIfErrorSeconds)}, "clock_skew_seconds": {durationText(t.ClockSkewSeconds)},
	}
	if d, err := t.CustomDomain.Get(); err == nil {
		values.Set("custom_domain", d)
	}
	return v.render("settings.html", "Settings of "+tenantName(t), v.settings(values))
}

func (v *visit) settings(values url.Values) settingsPage {
	p := settingsPage{form: form{Values: values, Fields: map[string]string{}}, Guarded: map[string]bool{}, Guards: guardable}
	for _, op := range v.Tenant.ApprovalRequired {
		p.Guarded[string(op)] = true
	}
	return p
}

// saveSettings changes the settings that the form has changed, and no others.
func saveSettings(v *visit) error {
	if !v.Can("updateTenant") {
		return forbidden
	}
	if err := v.findTenant(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return &pageError{400, "The form is too large or incomplete", "Go back and try again."}
	}
	p := v.settings(v.r.PostForm)
	body := v.changedSettings(p)
	if len(p.Fields) == 0 {
		_, err := v.api.UpdateTenant(v.r.Context(), v.Tenant.Slug, body)
		if err == nil {
			return v.redirect(v.Base() + "/settings?done=saved")
		}
		var shown bool
		if p.Fields, p.Error, shown = formErrors(err); !shown {
			return err
		}
	}
	return v.renderStatus(422, "settings.html", "Settings of "+tenantName(v.Tenant), p)
}

func (v *visit) changedSettings(p settingsPage) (body client.UpdateTenantRequest) {
	t := v.Tenant
	if p.V("name") != t.Name {
		body.Name = nullText(p.V("name"))
	}
	if p.V("issuer") != t.Issuer {
		body.Issuer = nullText(p.V("issuer"))
	}
	if old, _ := t.CustomDomain.Get(); p.V("custom_domain") != old {
		body.CustomDomain = nullText(p.V("custom_domain"))
	}
	for name, field := range map[string]struct {
		to  *nullable.Nullable[int64]
		old int64
	}{
		"jwks_max_age_seconds":                {&body.JWKSMaxAgeSeconds, t.JWKSMaxAgeSeconds},
		"jwks_stale_while_revalidate_seconds": {&body.JWKSStaleWhileRevalidateSeconds, t.JWKSStaleWhileRevalidateSeconds},
		"jwks_stale_if_error_seconds":         {&body.JWKSStaleIfErrorSeconds, t.JWKSStaleIfErrorSeconds},
		"clock_skew_seconds":                  {&body.ClockSkewSeconds, t.ClockSkewSeconds},
	} {
		n, err := parseDuration(p.V(name))
		if err != nil {
			p.Fields[name] = errDuration.Error()
		} else if n != field.old {
			*field.to = nullable.NewNullableWithValue(n)
		}
	}
	return body
}
