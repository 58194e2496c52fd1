package main

import (
	"context"
	"fmt"

	"github.com/keyward/keyward/client"
)

type keyPurgeCmd struct {
	ofTenant
	asking
	approving
}

// Run is keyward key purge.
func (c *keyPurgeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	gone, err := p.foretellPurge(ctx, api, c.Tenant)
	if err != nil {
		return err
	}
	if gone > 0 {
		if err := c.confirm(p, fmt.Sprintf("Purge %d keys of %s?", gone, c.Tenant)); err != nil {
			return err
		}
	}
	resp, err := api.Requests.PurgeKeys(ctx, c.Tenant, nil, client.NoOptions{}, c.edit()...)
	err = answered(p, c.JSON, resp, err, func(r client.PurgeResult) error {
		_, err := fmt.Fprintf(p.stdout, "%d keys purged.\n", len(r.Purged))
		return err
	})
	return c.concluded(p, c.remote, c.Tenant, err, "key", "purge", "--tenant", c.Tenant)
}

// foretellPurge says which public keys a purge will forget, and counts them.
func (p *program) foretellPurge(ctx context.Context, api *client.Client, tenant string) (gone int, err error) {
	s, err := standing(ctx, api, tenant)
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
	if err := t.print(p.stderr, width(p.stderr)); err != nil {
		return 0, err
	}
	p.evidence("The public keys of these %d will be forgotten; kids, times and reasons stay.", gone)
	return gone, nil
}
