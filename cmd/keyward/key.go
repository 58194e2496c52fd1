package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/keyward/keyward/client"
)

type keyCmd struct {
	List      keyListCmd      `cmd:"" help:"List them, newest first."`
	Show      keyShowCmd      `cmd:"" help:"Show one, or its public key."`
	Rotate    keyRotateCmd    `cmd:"" help:"Let the standby key sign, now."`
	Revoke    keyRevokeCmd    `cmd:"" help:"Take one out of the JWKS, now and for good."`
	RevokeAll keyRevokeAllCmd `cmd:"" name:"revoke-all" help:"Revoke every key and start with fresh ones."`
	Import    keyImportCmd    `cmd:"" help:"Bring in an existing key: a private one to sign with, public ones to verify with."`
	Purge     keyPurgeCmd     `cmd:"" help:"Forget the public keys of expired and revoked ones, now."`
}

type keyListCmd struct {
	State   string  `name:"state" enum:",standby,active,deprecated,expired,revoked,purged" default:"" placeholder:"STATE" help:"Only those in this state: standby, active, deprecated, expired, revoked or purged."`
	Alg     string  `name:"alg" placeholder:"ALG" help:"Only those of this algorithm."`
	ValidAt *moment `name:"valid-at" placeholder:"TIME" help:"Only those that were published at this time."`
	listing
	ofTenant
}

// Run is keyward key list.
func (c *keyListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	params := client.ListKeysParams{State: given(client.KeyState(c.State)), Alg: given(client.Alg(c.Alg)), ValidAt: c.ValidAt.time()}
	return list(p, c.JSON, c.listing, rows[client.Key]{head: keyHead, row: keyRow, none: "There is no such key."},
		func(limit *int, cursor *string) (*http.Response, error) {
			params.Limit, params.Cursor = limit, cursor
			return api.Requests.ListKeys(ctx, c.Tenant, &params)
		})
}

var keyHead = []string{"KID", "ALG", "STATE", "SINCE", "NEXT MOVE", "LAST SIGNED", "SAFE TO RETIRE"}

func keyRow(k client.Key) []string {
	return []string{
		k.KID, string(k.Alg), string(k.State), when(since(k)),
		maybe(k.NextTransitionAt, when), maybe(k.LastSignedAt, when), maybe(k.SafeToRetireAt, when),
	}
}

// since is when a key entered its state.
func since(k client.Key) time.Time {
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

// keyTable is for a handful of keys.
func keyTable(keys ...client.Key) table {
	t := table{head: keyHead}
	for _, k := range keys {
		t.add(keyRow(k)...)
	}
	return t
}

// aKey names a key of a tenant.
type aKey struct {
	KID string `arg:"" name:"kid" help:"The key; after -- if it begins with a dash."`
	ofTenant
}

type keyShowCmd struct {
	aKey
	PEM bool `name:"pem" xor:"form" help:"Only the public key, in PEM."`
	JWK bool `name:"jwk" xor:"form" help:"Only the public key, as a JWK."`
}

// Run is keyward key show.
func (c *keyShowCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
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
	return answered(p, c.JSON, resp, err, p.showKey)
}

func (p *program) showKey(k client.Key) error {
	var out table
	out.add("kid", k.KID)
	out.add("algorithm", fmt.Sprintf("%s (%s, %s)", k.Alg, k.Kty, k.Origin))
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
			out.add(t.name, when(*t.at))
		}
	}
	if k.RevocationReason != nil {
		out.add("revocation reason", string(*k.RevocationReason))
	}
	if k.PublicJWK != nil {
		out.add("public JWK", string(*k.PublicJWK))
	}
	return p.show(out)
}
