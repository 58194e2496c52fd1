package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
)

// revokeFlags are shared by key revoke and key revoke-all.
type revokeFlags struct {
	Reason  string `name:"reason" required:"" enum:"unspecified,compromised,superseded" placeholder:"REASON" help:"Set the reason: unspecified, compromised or superseded."`
	Comment string `name:"comment" placeholder:"TEXT" help:"Record this text in the audit history."`
}

type keyRevokeCmd struct {
	KID *string `arg:"" optional:"" name:"kid" help:"Select the key by kid; put it after -- if it begins with a dash. Default: the key that signs."`
	Alg string  `name:"alg" placeholder:"ALG" help:"Select the key that signs with this algorithm, if no kid is given. Default: the default policy's."`
	tenantScope
	revokeFlags
	Mode string `name:"mode" enum:",standby,fresh" default:"" placeholder:"MODE" help:"Replace an active key by the standby key (no verifier fails) or by a fresh key (verifiers refetch and drop the revoked key). Default: fresh for compromised, else standby."`
	dryRunFlag
	approvalFlag
	confirmFlag
}

// Run is keyward key revoke.
func (c *keyRevokeCmd) Run(ctx context.Context, p *program) error {
	switch {
	case c.KID != nil && *c.KID == "": // of a script's empty variable: not the key that signs
		return &usageError{"the kid is empty; leave the argument out to revoke the key that signs"}
	case c.KID != nil && c.Alg != "":
		return &usageError{"--alg selects the key that signs; leave it out if the kid is given"}
	}
	api, err := c.openClient()
	if err != nil {
		return err
	}
	if c.DryRun {
		resp, err := c.request(ctx, api)
		return printAnswer(p, c.JSON, resp, err, p.printRevocationPreview)
	}
	if !c.Yes {
		if err := c.previewRevocation(ctx, p, api); err != nil {
			return err
		}
	}
	if err := c.confirm(p, "Revoke "+optionalText(c.KID, stringOf)+"?"); err != nil {
		return err
	}
	resp, err := c.request(ctx, api)
	return printAnswer(p, c.JSON, resp, err, p.printRevocation)
}

// request sends the revocation, or its dry run.
func (c *keyRevokeCmd) request(ctx context.Context, api *client.Client) (*http.Response, error) {
	reason, comment, mode := client.RevocationReason(c.Reason), nonEmpty(c.Comment), nonEmpty(client.RevocationMode(c.Mode))
	if c.KID == nil {
		return api.Requests.RevokeActiveKey(ctx, c.Tenant, nil, client.RevokeActiveRequest{
			Alg: nonEmpty(client.Alg(c.Alg)), Reason: reason, Comment: comment, Mode: mode, DryRun: c.param(),
		}, c.requestEditors()...)
	}
	return api.Requests.RevokeKey(ctx, c.Tenant, *c.KID, nil, client.RevokeRequest{Reason: reason, Comment: comment, Mode: mode, DryRun: c.param()}, c.requestEditors()...)
}

// selectKey returns the key that the command is about.
func (c *keyRevokeCmd) selectKey(ctx context.Context, api *client.Client) (*client.Key, error) {
	if c.KID != nil {
		return api.GetKey(ctx, c.Tenant, *c.KID)
	}
	would, err := api.RevokeActiveKey(ctx, c.Tenant, &client.RevokeActiveKeyParams{DryRun: new(true)}, client.RevokeActiveRequest{
		Alg: nonEmpty(client.Alg(c.Alg)), Reason: client.RevocationReason(c.Reason),
	})
	if err != nil {
		return nil, err
	}
	return api.GetKey(ctx, c.Tenant, would.Key.KID)
}

// previewRevocation prints the effect of a revocation.
func (c *keyRevokeCmd) previewRevocation(ctx context.Context, p *program, api *client.Client) error {
	s, err := loadKeyEvidence(ctx, api, c.Tenant)
	if err != nil {
		return err
	}
	k, err := c.selectKey(ctx, api)
	if err != nil {
		return err
	}
	c.KID = &k.KID // what is shown is what is revoked, also if another key signs by then
	t := keyTable(*k)
	if err := t.print(p.stderr, terminalWidth(p.stderr)); err != nil {
		return err
	}
	if isPublished(*k) {
		p.printNote("It will leave the JWKS at once: %s", tokenImpact(k.LastTokenExpiresAt))
		p.printNote("%s", c.nextSigner(*k, s))
	}
	return nil
}

const freshSignerText = "A fresh key that no verifier has seen will sign; verifiers refetch at its first token and drop this one."

// nextSigner describes the key that will sign after the revocation.
func (c *keyRevokeCmd) nextSigner(k client.Key, s keyEvidence) string {
	if k.State != client.KeyStateActive {
		return "The active key continues to sign."
	}
	if c.Mode == "fresh" || c.Mode == "" && c.Reason == "compromised" {
		return freshSignerText
	}
	for _, other := range s.published {
		if other.Alg == k.Alg && other.State == client.KeyStateStandby {
			return fmt.Sprintf("The standby %s will sign, published since %s.", other.KID, formatTime(other.PublishedAt))
		}
	}
	return "There is no standby yet; a new key will sign."
}

// printRevocation prints the keys after a revocation, and for each class of
// verifier how long it may still trust the revoked one.
func (p *program) printRevocation(r client.RevokeResult) error {
	keys := []client.Key{r.Key}
	for _, k := range []*client.Key{r.Replacement, r.Standby} {
		if k != nil {
			keys = append(keys, *k)
		}
	}
	if err := p.printTable(keyTable(keys...)); err != nil {
		return err
	}
	return p.printTrustedUntil(r.TrustedUntil)
}

// printRevocationPreview prints the result of a dry run, in which no key is
// made.
func (p *program) printRevocationPreview(r client.RevokeResult) error {
	if err := p.printRevocation(r); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\nIt would leave the JWKS at once: %s\n", tokenImpact(r.BreaksTokensUntil))
	if r.Mode != nil && *r.Mode == client.RevocationModeFresh {
		fmt.Fprintln(p.stdout, freshSignerText)
	}
	return p.printUnchanged()
}

// printTrustedUntil prints how long each class of verifier may still trust a
// revoked key.
func (p *program) printTrustedUntil(list client.TrustedUntil) error {
	t := table{head: []string{"MAY STILL TRUST IT", "UNTIL", "WHY"}}
	for _, v := range list {
		until := "without end"
		if at, err := v.Until.Get(); err == nil {
			until = formatTime(at)
		}
		t.add(v.Class, until, v.Why)
	}
	fmt.Fprintln(p.stdout)
	return p.printTable(t)
}

type keyRevokeAllCmd struct {
	tenantScope
	revokeFlags
	dryRunFlag
	confirmFlag
	approvalFlag
}

// Run is keyward key revoke-all. A dry run needs no approval.
func (c *keyRevokeAllCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	req := client.RevokeAllRequest{Reason: client.RevocationReason(c.Reason), Comment: nonEmpty(c.Comment), DryRun: c.param()}
	if c.DryRun {
		resp, err := api.Requests.RevokeAllKeys(ctx, c.Tenant, nil, req)
		return printAnswer(p, c.JSON, resp, err, p.printRevokeAllPreview)
	}
	if !c.Yes {
		if err := p.previewRevokeAll(ctx, api, c.Tenant); err != nil {
			return err
		}
	}
	if err := c.confirm(p, "Revoke every key of "+c.Tenant+"?"); err != nil {
		return err
	}
	resp, err := api.Requests.RevokeAllKeys(ctx, c.Tenant, nil, req, c.requestEditors()...)
	err = printAnswer(p, c.JSON, resp, err, p.printRevokeAll)
	return c.explainApproval(p, c.remoteFlags, c.Tenant, err,
		append([]string{"key", "revoke-all", "--tenant", c.Tenant}, flagWords("--reason", c.Reason, "--comment", c.Comment)...)...)
}

// previewRevokeAll prints the effect of revoking all keys.
func (p *program) previewRevokeAll(ctx context.Context, api *client.Client, tenant string) error {
	s, err := loadKeyEvidence(ctx, api, tenant)
	if err != nil {
		return err
	}
	t := keyTable(s.published...)
	if err := t.print(p.stderr, terminalWidth(p.stderr)); err != nil {
		return err
	}
	p.printNote("%s will leave the JWKS at once, replaced by fresh keys that no verifier has seen: %s", plural.Count(len(s.published), "key"), s.tokenImpact())
	return nil
}

// printRevokeAll prints the new keys and the remaining trust in the old ones.
func (p *program) printRevokeAll(r client.RevokeAllResult) error {
	fmt.Fprintf(p.stdout, "%s revoked.\n", plural.Count(len(r.Revoked), "key"))
	if err := p.printTable(keyTable(append(r.Active, r.Standby...)...)); err != nil {
		return err
	}
	return p.printTrustedUntil(r.TrustedUntil)
}

// printRevokeAllPreview prints the result of a dry run, in which no key is
// made.
func (p *program) printRevokeAllPreview(r client.RevokeAllResult) error {
	if err := p.printTable(keyTable(r.Revoked...)); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\n%s would leave the JWKS at once, replaced by fresh keys that no verifier has seen: %s\n", plural.Count(len(r.Revoked), "key"), tokenImpact(r.BreaksTokensUntil))
	if err := p.printTrustedUntil(r.TrustedUntil); err != nil {
		return err
	}
	return p.printUnchanged()
}
