package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
)

type tenantDeleteCmd struct {
	tenantArg
	confirmFlag
	approvalFlag
}

// Run is keyward tenant delete. Only the certificate is written to stdout.
func (c *tenantDeleteCmd) Run(ctx context.Context, p *program) error {
	api, name, err := c.openTenant()
	if err != nil {
		return err
	}
	t, err := p.previewDeletion(ctx, api, name)
	if err != nil {
		return err
	}
	if err := c.confirm(p, "Delete "+t.Slug+"?"); err != nil {
		return err
	}
	resp, err := api.Requests.DeleteTenant(ctx, t.ID.String(), c.requestEditors(client.Certified())...)
	err = printAnswer(p, c.JSON, resp, err, func(d client.DestructionCertificate) error {
		fmt.Fprintf(p.stderr, "%s is deleted. Its certificate of destruction, which keyward tenant certificate %s prints again:\n", t.Slug, t.ID)
		_, err := fmt.Fprintln(p.stdout, d.Certificate)
		return err
	})
	return c.explainApproval(p, c.remoteFlags, t.Slug, err, "tenant", "delete", t.Slug)
}

// previewDeletion prints the effect of deleting a tenant.
func (p *program) previewDeletion(ctx context.Context, api *client.Client, name string) (*client.Tenant, error) {
	t, err := api.GetTenant(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := loadKeyEvidence(ctx, api, name)
	if err != nil {
		return nil, err
	}
	p.printNote("%s (%s, %s) will be deleted permanently, with its private keys and data keys.", t.Slug, orDash(t.Name), t.ID)
	p.printNote("%s will be revoked: %s", plural.Count(len(s.published), "published key"), s.tokenImpact())
	return t, nil
}

type tenantCertificateCmd struct {
	ID uuid.UUID `arg:"" name:"id" help:"Select the deleted tenant by id."`
	remoteFlags
}

// Run is keyward tenant certificate.
func (c *tenantCertificateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetDestructionCertificate(ctx, c.ID)
	return printAnswer(p, c.JSON, resp, err, func(d client.DestructionCertificate) error {
		_, err := fmt.Fprintln(p.stdout, d.Certificate)
		return err
	})
}

// keyEvidence is the state of a tenant's keys before a destructive change.
type keyEvidence struct {
	all, published []client.Key
	lastToken      *time.Time // the latest exp signed by a published key
}

// loadKeyEvidence reads a tenant's keys from the API.
func loadKeyEvidence(ctx context.Context, api *client.Client, tenant string) (s keyEvidence, err error) {
	for k, err := range api.Keys(ctx, tenant, nil) {
		if err != nil {
			return s, err
		}
		if s.all = append(s.all, k); !isPublished(k) {
			continue
		}
		s.published = append(s.published, k)
		if e := k.LastTokenExpiresAt; e != nil && (s.lastToken == nil || e.After(*s.lastToken)) {
			s.lastToken = e
		}
	}
	return s, nil
}

func isPublished(k client.Key) bool {
	return k.State == client.KeyStateStandby || k.State == client.KeyStateActive || k.State == client.KeyStateDeprecated
}

// tokenImpact describes the effect on tokens of removing all published keys.
func (s keyEvidence) tokenImpact() string {
	return tokenImpact(s.lastToken)
}

func tokenImpact(lastToken *time.Time) string {
	if lastToken == nil {
		return "no live token signed here is known."
	}
	if lastToken.Before(utcNow()) {
		return "the last token signed here has expired, at " + formatTime(*lastToken) + "."
	}
	return "tokens signed here live until " + formatTime(*lastToken) + " and will stop verifying."
}
