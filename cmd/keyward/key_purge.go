package main

import (
	"context"
	"fmt"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
)

type keyPurgeCmd struct {
	tenantScope
	confirmFlag
	approvalFlag
}

// Run is keyward key purge.
func (c *keyPurgeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	gone, err := p.previewPurge(ctx, api, c.Tenant)
	if err != nil {
		return err
	}
	if gone > 0 {
		if err := c.confirm(p, fmt.Sprintf("Purge %s of %s?", plural.Count(gone, "key"), c.Tenant)); err != nil {
			return err
		}
	}
	resp, err := api.Requests.PurgeKeys(ctx, c.Tenant, client.NoOptions{}, c.requestEditors()...)
	err = printAnswer(p, c.JSON, resp, err, func(r client.PurgeResult) error {
		_, err := fmt.Fprintf(p.stdout, "%s purged.\n", plural.Count(len(r.Purged), "key"))
		return err
	})
	return c.explainApproval(p, c.remoteFlags, c.Tenant, err, "key", "purge", "--tenant", c.Tenant)
}

// previewPurge prints the keys to be purged and returns their number.
func (p *program) previewPurge(ctx context.Context, api *client.Client, tenant string) (gone int, err error) {
	s, err := loadKeyEvidence(ctx, api, tenant)
	if err != nil {
		return 0, err
	}
	t := keyTable()
	for _, k := range s.all {
		if k.State == client.KeyStateExpired || k.State == client.KeyStateRevoked {
			t.add(keyRow(k)...)
			gone++
		}
	}
	if gone == 0 {
		return 0, nil
	}
	if err := t.print(p.stderr, terminalWidth(p.stderr)); err != nil {
		return 0, err
	}
	p.printNote("The public %s of %s will be purged; kids, times and reasons stay.", plural.Noun(gone, "part"), plural.Count(gone, "key"))
	return gone, nil
}
