package main

import (
	"context"
	"time"

	"github.com/keyward/keyward/client"
)

type keyRotateCmd struct {
	Alg    string `name:"alg" placeholder:"ALG" help:"Of the policy that rotates. Default: the default one."`
	Reason string `name:"reason" placeholder:"TEXT" help:"For the audit history."`
	trying
	ofTenant
	asking
}

// Run is keyward key rotate. It breaks no token: the key that signed stays
// published. So where nobody can be asked it goes ahead.
func (c *keyRotateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	req := client.RotateRequest{Alg: given(client.Alg(c.Alg)), Reason: given(c.Reason)}
	if c.DryRun {
		preview := req
		preview.DryRun = c.wish()
		resp, err := api.Requests.RotateKeys(ctx, c.Tenant, nil, preview)
		return answered(p, c.JSON, resp, err, func(r client.RotatePreview) error { return p.wouldHappen(r.Timeline) })
	}
	if !c.Yes {
		preview, err := api.PreviewRotation(ctx, c.Tenant, req)
		if err != nil {
			return err
		}
		if err := p.foretell(*preview); err != nil {
			return err
		}
	}
	if err := c.ask(p, "Rotate "+c.Tenant+"?"); err != nil {
		return err
	}
	resp, err := api.Requests.RotateKeys(ctx, c.Tenant, nil, req)
	return answered(p, c.JSON, resp, err, p.rotated)
}

// foretell shows what a rotation will do, on the standard error.
func (p *program) foretell(r client.RotatePreview) error {
	t := timeline(r.Timeline)
	if err := t.print(p.stderr, width(p.stderr)); err != nil {
		return err
	}
	p.evidence("The next key has been published for %s; a verifier that has not fetched the JWKS since must do so.", elapsed(r.PublishedSeconds))
	return nil
}

// rotated says who signs now.
func (p *program) rotated(r client.RotateResult) error {
	keys := []client.Key{r.Active, r.Standby}
	if old, err := r.Deprecated.Get(); err == nil {
		keys = append(keys, old)
	}
	return p.show(keyTable(keys...))
}

// elapsed is a length of time for people.
func elapsed(seconds int64) string { return (time.Duration(seconds) * time.Second).String() }
