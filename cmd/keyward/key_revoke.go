package main

import (
	"context"
	"fmt"

	"github.com/keyward/keyward/client"
)

// revoking are the flags of what revokes.
type revoking struct {
	Reason  string `name:"reason" required:"" enum:"unspecified,compromised,superseded" placeholder:"REASON" help:"unspecified, compromised or superseded."`
	Comment string `name:"comment" placeholder:"TEXT" help:"For the audit history."`
}

type keyRevokeCmd struct {
	aKey
	revoking
	Mode string `name:"mode" enum:",standby,fresh" default:"" placeholder:"MODE" help:"Who signs instead of an active key: standby (no verifier fails) or fresh (verifiers refetch and drop the revoked key). Default: fresh for compromised, else standby."`
	trying
	asking
}

// Run is keyward key revoke.
func (c *keyRevokeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	req := client.RevokeRequest{
		Reason: client.RevocationReason(c.Reason), Comment: given(c.Comment), Mode: given(client.RevocationMode(c.Mode)), DryRun: c.wish(),
	}
	if c.DryRun {
		resp, err := api.Requests.RevokeKey(ctx, c.Tenant, c.KID, nil, req)
		return answered(p, c.JSON, resp, err, p.wouldRevoke)
	}
	if !c.Yes {
		if err := c.foretell(ctx, p, api); err != nil {
			return err
		}
	}
	if err := c.confirm(p, "Revoke "+c.KID+"?"); err != nil {
		return err
	}
	resp, err := api.Requests.RevokeKey(ctx, c.Tenant, c.KID, nil, req)
	return answered(p, c.JSON, resp, err, p.revoked)
}

// foretell says what a revocation will do.
func (c *keyRevokeCmd) foretell(ctx context.Context, p *program, api *client.Client) error {
	s, err := standing(ctx, api, c.Tenant)
	if err != nil {
		return err
	}
	k, err := api.GetKey(ctx, c.Tenant, c.KID)
	if err != nil {
		return err
	}
	t := keyTable(*k)
	if err := t.print(p.stderr, width(p.stderr)); err != nil {
		return err
	}
	if published(*k) {
		p.evidence("It leaves the JWKS at once: %s", harm(k.LastTokenExpiresAt))
		p.evidence("%s", c.successor(*k, s))
	}
	return nil
}

const freshSigns = "A fresh key that no verifier has seen will sign; verifiers refetch when they meet it, and drop this one."

// successor says which key signs from then on.
func (c *keyRevokeCmd) successor(k client.Key, s keysStanding) string {
	if k.State != client.KeyStateActive {
		return "The active key goes on signing."
	}
	if c.Mode == "fresh" || c.Mode == "" && c.Reason == "compromised" {
		return freshSigns
	}
	for _, other := range s.published {
		if other.Alg == k.Alg && other.State == client.KeyStateStandby {
			return fmt.Sprintf("The standby %s will sign, which has been published since %s.", other.KID, when(other.PublishedAt))
		}
	}
	return "There is no standby yet; a new key will sign."
}

// revoked says who signs now, and who may still trust the key.
func (p *program) revoked(r client.RevokeResult) error {
	keys := []client.Key{r.Key}
	for _, k := range []*client.Key{r.Replacement, r.Standby} {
		if k != nil {
			keys = append(keys, *k)
		}
	}
	if err := p.show(keyTable(keys...)); err != nil {
		return err
	}
	return p.trust(r.TrustedUntil)
}

// wouldRevoke says the same of a dry run, which makes no key.
func (p *program) wouldRevoke(r client.RevokeResult) error {
	if err := p.revoked(r); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\nIt would leave the JWKS at once: %s\n", harm(r.BreaksTokensUntil))
	if r.Mode != nil && *r.Mode == client.RevocationModeFresh {
		fmt.Fprintln(p.stdout, freshSigns)
	}
	return p.unchanged()
}

// trust shows how long verifiers may still trust what was revoked.
func (p *program) trust(list client.TrustedUntil) error {
	t := table{head: []string{"MAY STILL TRUST IT", "UNTIL", "WHY"}}
	for _, v := range list {
		until := "without end"
		if at, err := v.Until.Get(); err == nil {
			until = when(at)
		}
		t.add(v.Class, until, v.Why)
	}
	fmt.Fprintln(p.stdout)
	return p.show(t)
}

type keyRevokeAllCmd struct {
	ofTenant
	revoking
	trying
	asking
	approving
}

// Run is keyward key revoke-all. A dry run needs no approval.
func (c *keyRevokeAllCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	req := client.RevokeAllRequest{Reason: client.RevocationReason(c.Reason), Comment: given(c.Comment), DryRun: c.wish()}
	if c.DryRun {
		resp, err := api.Requests.RevokeAllKeys(ctx, c.Tenant, nil, req)
		return answered(p, c.JSON, resp, err, p.wouldRevokeAll)
	}
	if !c.Yes {
		if err := p.foretellRevokeAll(ctx, api, c.Tenant); err != nil {
			return err
		}
	}
	if err := c.confirm(p, "Revoke every key of "+c.Tenant+"?"); err != nil {
		return err
	}
	resp, err := api.Requests.RevokeAllKeys(ctx, c.Tenant, nil, req, c.edit()...)
	err = answered(p, c.JSON, resp, err, p.revokedAll)
	return c.concluded(p, c.remote, c.Tenant, err,
		append([]string{"key", "revoke-all", "--tenant", c.Tenant}, words("--reason", c.Reason, "--comment", c.Comment)...)...)
}

// foretellRevokeAll says what the revocation of all keys will do.
func (p *program) foretellRevokeAll(ctx context.Context, api *client.Client, tenant string) error {
	s, err := standing(ctx, api, tenant)
	if err != nil {
		return err
	}
	t := keyTable(s.published...)
	if err := t.print(p.stderr, width(p.stderr)); err != nil {
		return err
	}
	p.evidence("All %d leave the JWKS at once, and fresh keys that no verifier has seen take their place: %s", len(s.published), s.harm())
	return nil
}

// revokedAll says who signs now.
func (p *program) revokedAll(r client.RevokeAllResult) error {
	fmt.Fprintf(p.stdout, "%d keys revoked.\n", len(r.Revoked))
	if err := p.show(keyTable(append(r.Active, r.Standby...)...)); err != nil {
		return err
	}
	return p.trust(r.TrustedUntil)
}

// wouldRevokeAll says what would go; what takes its place is not made yet.
func (p *program) wouldRevokeAll(r client.RevokeAllResult) error {
	if err := p.show(keyTable(r.Revoked...)); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\nThese %d would leave the JWKS at once, and fresh keys that no verifier has seen take their place: %s\n", len(r.Revoked), harm(r.BreaksTokensUntil))
	if err := p.trust(r.TrustedUntil); err != nil {
		return err
	}
	return p.unchanged()
}
