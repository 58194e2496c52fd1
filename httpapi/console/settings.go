package console

import (
	"net/url"
	"slices"

	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/client"
)

// guardable are the effects for which a tenant can ask for a second person.
var guardable = []client.GuardedOperation{
	client.GuardedOperationRevoke, client.GuardedOperationRevokeAll, client.GuardedOperationImport, client.GuardedOperationPurge,
	client.GuardedOperationDelete, client.GuardedOperationPolicy, client.GuardedOperationAPIKeys, client.GuardedOperationSettings,
}

// settingFields are the fields of the form; settingDurations among them are durations.
var (
	settingFields    = []string{"name", "issuer", "custom_domain", "jwks_max_age_seconds", "jwks_stale_while_revalidate_seconds", "jwks_stale_if_error_seconds", "clock_skew_seconds", "approval_required"}
	settingDurations = settingFields[3:7]
)

type settingsPage struct {
	form
	Guards []client.GuardedOperation
}

// Guarded reports whether the form asks for a second person for an effect.
func (p settingsPage) Guarded(op client.GuardedOperation) bool {
	return slices.Contains(p.Values["approval_required"], string(op))
}

// Was are the values that the form began with, as hidden fields.
func (p settingsPage) Was() (fields []hiddenField) {
	for _, name := range settingFields {
		for _, value := range p.Values[was+name] {
			fields = append(fields, hiddenField{was + name, value})
		}
	}
	return fields
}

const was = "was_" // before the name of a field: what it was when the page was made

func showSettings(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	t := v.Tenant
	values := url.Values{
		"name": {t.Name}, "issuer": {t.Issuer}, "custom_domain": {""}, "jwks_max_age_seconds": {durationText(t.JWKSMaxAgeSeconds)},
		"jwks_stale_while_revalidate_seconds": {durationText(t.JWKSStaleWhileRevalidateSeconds)},
		"jwks_stale_if_error_seconds":         {durationText(t.JWKSStaleIfErrorSeconds)}, "clock_skew_seconds": {durationText(t.ClockSkewSeconds)},
	}
	if d, err := t.CustomDomain.Get(); err == nil {
		values.Set("custom_domain", d)
	}
	for _, op := range t.ApprovalRequired {
		values.Add("approval_required", string(op))
	}
	for _, name := range settingFields {
		values[was+name] = values[name]
	}
	return v.render("settings.html", "Settings of "+tenantName(t), settings(values))
}

func settings(values url.Values) settingsPage {
	return settingsPage{form: form{Values: values, Fields: map[string]string{}}, Guards: guardable}
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
		return errForm
	}
	p := settings(v.r.PostForm)
	body := p.changes()
	if len(p.Fields) == 0 {
		_, err := v.api.UpdateTenant(v.r.Context(), v.Tenant.Slug, body, v.changes()...)
		if err == nil {
			return v.redirect(v.Base() + "/settings?done=saved")
		}
		if shown, err := v.showAwaiting(err); shown {
			return err
		}
		var shown bool
		if p.Fields, p.Error, shown = formErrors(err); !shown {
			return err
		}
	}
	return v.renderStatus(422, "settings.html", "Settings of "+tenantName(v.Tenant), p)
}

// changed reports whether the form has another value of a field than the page had when it
// was made. What somebody else has changed meanwhile is left as it is.
func (p settingsPage) changed(name string) bool {
	return !slices.Equal(p.Values[name], p.Values[was+name])
}

// changes makes the request of the form, and notes what is wrong with it.
func (p settingsPage) changes() (body client.UpdateTenantRequest) {
	for name, to := range map[string]*nullable.Nullable[string]{"name": &body.Name, "issuer": &body.Issuer, "custom_domain": &body.CustomDomain} {
		if p.changed(name) {
			*to = nullText(p.V(name))
		}
	}
	for i, to := range []*nullable.Nullable[int64]{
		&body.JWKSMaxAgeSeconds, &body.JWKSStaleWhileRevalidateSeconds, &body.JWKSStaleIfErrorSeconds, &body.ClockSkewSeconds,
	} {
		name := settingDurations[i]
		if !p.changed(name) {
			continue
		}
		n, err := parseDuration(p.V(name))
		if err != nil {
			p.Fields[name] = errDuration.Error()
			continue
		}
		*to = nullable.NewNullableWithValue(n)
	}
	if p.changed("approval_required") {
		wanted := []client.GuardedOperation{}
		for _, op := range p.Values["approval_required"] {
			wanted = append(wanted, client.GuardedOperation(op))
		}
		body.ApprovalRequired = nullable.NewNullableWithValue(wanted)
	}
	return body
}
