package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

type keyCmd struct {
	List      keyListCmd      `cmd:"" help:"List keys, newest first."`
	Show      keyShowCmd      `cmd:"" help:"Show a key, or only its public key."`
	Adoption  keyAdoptionCmd  `cmd:"" help:"Show which verifiers have fetched a key."`
	Rotate    keyRotateCmd    `cmd:"" help:"Rotate now: the standby key becomes active."`
	Revoke    keyRevokeCmd    `cmd:"" help:"Revoke a key: remove it from the JWKS now, permanently."`
	RevokeAll keyRevokeAllCmd `cmd:"" name:"revoke-all" help:"Revoke every key and replace them with fresh ones."`
	Import    keyImportCmd    `cmd:"" help:"Import an existing key, to sign or to verify with."`
	Purge     keyPurgeCmd     `cmd:"" help:"Purge the public keys of expired and revoked keys now."`
}

type keyListCmd struct {
	State   string  `name:"state" enum:",standby,active,deprecated,expired,revoked,purged" default:"" placeholder:"STATE" help:"Filter by state: standby, active, deprecated, expired, revoked or purged."`
	Alg     string  `name:"alg" placeholder:"ALG" help:"Filter by algorithm."`
	ValidAt *moment `name:"valid-at" placeholder:"TIME" help:"List the keys that were published at this time."`
	listFlags
	tenantScope
}

// Run is keyward key list.
func (c *keyListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	params := client.ListKeysParams{State: nonEmpty(client.KeyState(c.State)), Alg: nonEmpty(client.Alg(c.Alg)), ValidAt: c.ValidAt.time()}
	return printList(p, c.JSON, c.listFlags, rows[client.Key]{head: keyHead, row: keyRow, none: "No matching keys."},
		func(limit *int, cursor *string) (*http.Response, error) {
			params.Limit, params.Cursor = limit, cursor
			return api.Requests.ListKeys(ctx, c.Tenant, &params)
		})
}

var keyHead = []string{"KID", "ALG", "STATE", "SINCE", "NEXT MOVE", "LAST SIGNED", "SAFE TO RETIRE"}

func keyRow(k client.Key) []string {
	return []string{
		k.KID, algorithmsText(k), string(k.State), formatTime(stateSince(k)),
		optionalText(k.NextTransitionAt, formatTime), optionalText(k.LastSignedAt, formatTime), optionalText(k.SafeToRetireAt, formatTime),
	}
}

// algorithmsText returns all algorithms of a key.
func algorithmsText(k client.Key) string {
	if len(k.Algs) == 0 {
		return string(k.Alg)
	}
	return strings.Join(algorithmNames(k.Algs), ", ")
}

func algorithmNames(algs []client.Alg) []string {
	names := make([]string, len(algs))
	for i, alg := range algs {
		names[i] = string(alg)
	}
	return names
}

// stateSince returns the time at which a key entered its state.
func stateSince(k client.Key) time.Time {
	at := k.PublishedAt
	for _, t := range []*time.Time{k.ActivatedAt, k.DeprecatedAt, k.RevokedAt, k.PurgedAt} {
		if t != nil && t.After(at) {
			at = *t
		}
	}
	if k.State == client.KeyStateExpired && k.ExpiresAt != nil {
		at = *k.ExpiresAt
	}
	return at
}

// keyTable returns a table of a few keys.
func keyTable(keys ...client.Key) table {
	t := table{head: keyHead}
	for _, k := range keys {
		t.add(keyRow(k)...)
	}
	return t
}

// keyArg holds the argument and flags of commands about one key.
type keyArg struct {
	KID string `arg:"" name:"kid" help:"Select the key by kid; put it after -- if it begins with a dash."`
	tenantScope
}

type keyShowCmd struct {
	keyArg
	PEM bool `name:"pem" xor:"form" help:"Print only the public key, in PEM."`
	JWK bool `name:"jwk" xor:"form" help:"Print only the public key, as a JWK."`
}

// Run is keyward key show.
func (c *keyShowCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	if c.PEM || c.JWK {
		form := "application/jwk+json"
		if c.PEM {
			form = "application/x-pem-file"
		}
		text, err := client.Bytes(api.Requests.GetKey(ctx, c.Tenant, c.KID, client.Accept(form)))
		if err != nil {
			return err
		}
		return p.printJSON(text)
	}
	resp, err := api.Requests.GetKey(ctx, c.Tenant, c.KID)
	return printAnswer(p, c.JSON, resp, err, p.showKey)
}

func (p *program) showKey(k client.Key) error {
	var out table
	out.add("kid", k.KID)
	out.add("algorithm", fmt.Sprintf("%s (%s, %s)", algorithmsText(k), k.Kty, k.Origin))
	out.add("state", string(k.State))
	for _, t := range []struct {
		name string
		at   *time.Time
	}{
		{"created", &k.CreatedAt},
		{"published", &k.PublishedAt},
		{"activated", k.ActivatedAt},
		{"deprecated", k.DeprecatedAt},
		{"expires", k.ExpiresAt},
		{"revoked", k.RevokedAt},
		{"purged", k.PurgedAt},
		{"next move", k.NextTransitionAt},
		{"last signed", k.LastSignedAt},
		{"last token expires", k.LastTokenExpiresAt},
		{"safe to retire", k.SafeToRetireAt},
	} {
		if t.at != nil {
			out.add(t.name, formatTime(*t.at))
		}
	}
	if k.RevocationReason != nil {
		out.add("revocation reason", string(*k.RevocationReason))
	}
	if k.PublicJWK != nil {
		out.add("public JWK", string(*k.PublicJWK))
	}
	return p.printTable(out)
}
