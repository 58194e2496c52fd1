package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type tenantDeleteCmd struct {
	aTenant
	asking
	approving
}

// Run is keyward tenant delete. The certificate goes to the standard output.
func (c *tenantDeleteCmd) Run(ctx context.Context, p *program) error {
	api, name, err := c.openNamed()
	if err != nil {
		return err
	}
	t, err := p.foretellDeletion(ctx, api, name)
	if err != nil {
		return err
	}
	if err := c.confirm(p, "Delete "+t.Slug+"?"); err != nil {
		return err
	}
	resp, err := api.Requests.DeleteTenant(ctx, t.ID.String(), nil, c.edit(client.Certified())...)
	err = answered(p, c.JSON, resp, err, func(d client.DestructionCertificate) error {
		fmt.Fprintf(p.stderr, "%s is deleted. Its certificate of destruction, which keyward tenant certificate %s prints again:\n", t.Slug, t.ID)
		_, err := fmt.Fprintln(p.stdout, d.Certificate)
		return err
	})
	return c.concluded(p, c.remote, t.Slug, err, "tenant", "delete", t.Slug)
}

// foretellDeletion says what the deletion of a tenant will do.
func (p *program) foretellDeletion(ctx context.Context, api *client.Client, name string) (*client.Tenant, error) {
	t, err := api.GetTenant(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := standing(ctx, api, name)
	if err != nil {
		return nil, err
	}
	p.evidence("%s (%s, %s) will be deleted for good, and with it the private keys and data keys.", t.Slug, dash(t.Name), t.ID)
	p.evidence("%d published keys will be revoked: %s", len(s.published), s.harm())
	return t, nil
}

type tenantCertificateCmd struct {
	ID uuid.UUID `arg:"" name:"id" help:"Id of the deleted tenant."`
	remote
}

// Run is keyward tenant certificate.
func (c *tenantCertificateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetDestructionCertificate(ctx, c.ID)
	return answered(p, c.JSON, resp, err, func(d client.DestructionCertificate) error {
		_, err := fmt.Fprintln(p.stdout, d.Certificate)
		return err
	})
}

// keysStanding is the evidence before keys go.
type keysStanding struct {
	all, published []client.Key
	lastToken      *time.Time // the latest exp that any published key signed
}

// standing asks for a tenant's keys.
func standing(ctx context.Context, api *client.Client, tenant string) (s keysStanding, err error) {
	for k, err := range api.Keys(ctx, tenant, nil) {
		if err != nil {
			return s, err
		}
		if s.all = append(s.all, k); !published(k) {
			continue
		}
		s.published = append(s.published, k)
		if e := k.LastTokenExpiresAt; e != nil && (s.lastToken == nil || e.After(*s.lastToken)) {
			s.lastToken = e
		}
	}
	return s, nil
}

func published(k client.Key) bool {
	return k.State == client.KeyStateStandby || k.State == client.KeyStateActive || k.State == client.KeyStateDeprecated
}

// harm is what happens to tokens when all published keys go.
func (s keysStanding) harm() string {
	return harm(s.lastToken)
}

func harm(lastToken *time.Time) string {
	if lastToken == nil {
		return "no token signed here is known that needs them."
	}
	if lastToken.Before(now()) {
		return "the last token signed here has expired, at " + when(*lastToken) + "."
	}
	return "tokens signed here live until " + when(*lastToken) + " and will stop verifying."
}
