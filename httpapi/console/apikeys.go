package console

import (
	"context"
	"net/url"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type apiKeysPage struct {
	form
	Items   []client.APIKey
	Next    string
	Created *client.CreatedAPIKey // its key is shown once
	Roles   []string
	Mine    string
}

// scope finds the subject of the page: the tenant in the path, or the platform.
func (v *visit) scope() error {
	if v.r.PathValue("tenant") == "" {
		return nil
	}
	return v.findTenant()
}

// ofScope names an operation on the subject of the page.
func (v *visit) ofScope(verb, noun string) string {
	if v.Tenant == nil {
		return verb + "Platform" + noun
	}
	return verb + "Tenant" + noun
}

// ScopeCan is Can for an operation on the subject of the page, as in "create" and
// "APIKey".
func (v *visit) ScopeCan(verb, noun string) bool { return v.Can(v.ofScope(verb, noun)) }

func listAPIKeys(v *visit) error { return v.showAPIKeys(apiKeysPage{}, 200) }

func (v *visit) showAPIKeys(p apiKeysPage, status int) error {
	if v.Tenant == nil {
		if err := v.scope(); err != nil {
			return err
		}
	}
	if !v.ScopeCan("list", "APIKeys") {
		return forbidden
	}
	var (
		list  *client.APIKeyListResponse
		err   error
		limit = new(50)
		after *string
	)
	if c := v.Query("cursor"); c != "" {
		after = &c
	}
	if v.Tenant != nil {
		p.Roles = []string{"tenant_auditor", "tenant_verifier", "tenant_signer", "tenant_admin"}
		list, err = v.api.ListTenantAPIKeys(v.r.Context(), v.Tenant.Slug, &client.ListTenantAPIKeysParams{Limit: limit, Cursor: after})
	} else {
		p.Roles = []string{"platform_auditor", "platform_admin"}
		list, err = v.api.ListPlatformAPIKeys(v.r.Context(), &client.ListPlatformAPIKeysParams{Limit: limit, Cursor: after})
	}
	if err != nil {
		return err
	}
	p.Items, p.Mine = list.Items, v.Session.Actor.ID
	if list.NextCursor != nil {
		p.Next = "cursor=" + query(*list.NextCursor)
	}
	if p.Values == nil {
		p.Values = url.Values{"role": {v.Query("role")}}
	}
	p.Nonce = client.NewKey()
	return v.renderStatus(status, "apikeys.html", "API keys", p)
}

// createAPIKey shows the new key once. The answer is not a redirect, because the
// key is kept nowhere that another page could take it from.
func createAPIKey(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	p := apiKeysPage{form: form{Values: v.r.PostForm}}
	created, err := v.makeAPIKey(v.r.Context(), &p)
	if len(p.Fields) == 0 && err == nil {
		p.Created, p.Values = created, url.Values{}
		return v.showAPIKeys(p, 200)
	}
	if shown, err := v.showAwaiting(err); shown {
		return err
	}
	if err != nil {
		var shown bool
		if p.Fields, p.Error, shown = formErrors(err); !shown {
			return err
		}
	}
	return v.showAPIKeys(p, 422)
}

func (v *visit) makeAPIKey(ctx context.Context, p *apiKeysPage) (*client.CreatedAPIKey, error) {
	body := client.CreateTenantAPIKeyRequest{Role: client.CreateTenantAPIKeyRequestRole(p.V("role"))}
	setText(&body.Name, p.Values, "name")
	if text := p.V("expires_at"); text != "" {
		t, err := parseTime(text)
		if err != nil {
			p.Fields = map[string]string{"expires_at": wrongTime}
			return nil, nil
		}
		body.ExpiresAt = &t
	}
	if v.Tenant != nil {
		return v.api.CreateTenantAPIKey(ctx, v.Tenant.Slug, body, v.changes()...)
	}
	return v.api.CreatePlatformAPIKey(ctx, client.CreatePlatformAPIKeyRequest{
		Role: client.CreatePlatformAPIKeyRequestRole(body.Role), Name: body.Name, ExpiresAt: body.ExpiresAt,
	}, v.changes()...)
}

func revokeAPIKey(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	id, err := uuid.Parse(v.r.PostForm.Get("id"))
	if err != nil {
		return &pageError{404, "There is no such API key", "It may have been revoked already."}
	}
	children := v.r.PostForm.Get("children") != ""
	if v.Tenant != nil {
		_, err = v.api.RevokeTenantAPIKey(v.r.Context(), v.Tenant.Slug, id, children, v.changes()...)
	} else {
		_, err = v.api.RevokePlatformAPIKey(v.r.Context(), id, children, v.changes()...)
	}
	if shown, err := v.showAwaiting(err); shown {
		return err
	}
	if err != nil {
		return err
	}
	return v.redirect(v.Base() + "/api-keys?done=revoked")
}
