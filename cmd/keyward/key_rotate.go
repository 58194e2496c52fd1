package main

import (
	"context"
	"time"

	"github.com/keyward/keyward/client"
)

type keyRotateCmd struct {
	Alg    string `name:"alg" placeholder:"ALG" help:"Rotate the policy of this algorithm. Default: the default policy."`
	Reason string `name:"reason" placeholder:"TEXT" help:"Record this text in the audit history."`
	dryRunFlag
	tenantScope
	confirmFlag
}

// Run is keyward key rotate. Without a terminal it needs no --yes, because a
// rotation breaks no token: the previous key stays published.
func (c *keyRotateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	req := client.RotateRequest{Alg: nonEmpty(client.Alg(c.Alg)), Reason: nonEmpty(c.Reason)}
	if c.DryRun {
		preview := req
		preview.DryRun = c.param()
		resp, err := api.Requests.RotateKeys(ctx, c.Tenant, nil, preview)
		return printAnswer(p, c.JSON, resp, err, func(r client.RotatePreview) error { return p.printTimeline(r.Timeline) })
	}
	if !c.Yes {
		preview, err := api.PreviewRotation(ctx, c.Tenant, req)
		if err != nil {
			return err
		}
		if err := p.previewRotation(*preview); err != nil {
			return err
		}
	}
	if err := c.confirmIfTerminal(p, "Rotate "+c.Tenant+"?"); err != nil {
		return err
	}
	resp, err := api.Requests.RotateKeys(ctx, c.Tenant, nil, req)
	return printAnswer(p, c.JSON, resp, err, p.printRotation)
}

// previewRotation prints the effect of a rotation to stderr.
func (p *program) previewRotation(r client.RotatePreview) error {
	t := timelineTable(r.Timeline)
	if err := t.print(p.stderr, terminalWidth(p.stderr)); err != nil {
		return err
	}
	p.printNote("The next key has been published for %s; verifiers with an older JWKS must refetch.", formatElapsed(r.PublishedSeconds))
	return nil
}

// printRotation prints the keys after a rotation.
func (p *program) printRotation(r client.RotateResult) error {
	keys := []client.Key{r.Active, r.Standby}
	if old, err := r.Deprecated.Get(); err == nil {
		keys = append(keys, old)
	}
	return p.printTable(keyTable(keys...))
}

// formatElapsed formats a number of seconds.
func formatElapsed(seconds int64) string { return (time.Duration(seconds) * time.Second).String() }
