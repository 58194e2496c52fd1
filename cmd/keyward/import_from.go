package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyward/keyward/moving"
)

type importFromCmd struct {
	NestJWKS     fromNestJWKSCmd     `cmd:"" name:"nestjs-jwks" help:"The key directory of nestjs-jwks: metadata.json and <kid>.pem. Its keys verify; the private ones are in its memory only."`
	NodeJose     fromNodeJoseCmd     `cmd:"" name:"node-jose" help:"A keys.json of node-jose, with private keys. The last one signs, the others verify."`
	OAuth2Server fromOAuth2ServerCmd `cmd:"" name:"oauth2-server" help:"The PEM of @jmondi/oauth2-server."`
	Redis        fromRedisCmd        `cmd:"" name:"redis" help:"The Redis layout of How to JWKS, auth:keys:*. The active key signs, recent ones verify."`
	JWKS         fromJWKSCmd         `cmd:"" name:"jwks" help:"The JWK Set that any issuer publishes. Its keys verify."`
	Hydra        fromHydraCmd        `cmd:"" name:"hydra" help:"What Ory Hydra answers to GET /admin/keys/{set}. The first key signs, the others verify."`
}

type (
	fromNestJWKSCmd struct {
		Dir string `arg:"" placeholder:"DIR" help:"Its keysDirectory."`
		moveFlags
	}
	fromNodeJoseCmd struct {
		File string `arg:"" help:"What keystore.toJSON(true) gave."`
		moveFlags
		signFlags
	}
	fromOAuth2ServerCmd struct {
		File string `arg:"" help:"The PEM file that JwtService is given."`
		moveFlags
		signFlags
	}
	fromRedisCmd struct {
		Address  string `arg:"" name:"address" help:"As in redis://host:6379/0 or rediss://host."`
		Password string `name:"redis-password" var:"REDISCLI_AUTH" placeholder:"PASSWORD" help:"Better here than in the URL."`
		moveFlags
		signFlags
	}
	fromJWKSCmd struct {
		Address string `arg:"" name:"address" help:"Its URL: https, or http on this machine."`
		moveFlags
	}
	fromHydraCmd struct {
		Source string `arg:"" name:"source" help:"A file with the answer, or the URL: https, or http on this machine."`
		moveFlags
		signFlags
	}
)

// moveFlags are those of every source.
type moveFlags struct {
	Alg     string        `name:"alg" placeholder:"ALG" help:"Algorithm of keys that do not say it."`
	KeepFor time.Duration `name:"keep-for" default:"168h" placeholder:"DURATION" help:"How long keys verify whose own end the source does not say: as long as tokens of that system may live. Default: ${default}, seven days."`
	DryRun  bool          `name:"dry-run" help:"Print the plan and stop."`
	asking
	ofTenant
}

// signFlags are those of sources with private keys.
type signFlags struct {
	As    string `name:"as" default:"standby" enum:"standby,active,verify-only" help:"What the key that signs there becomes: standby (signs here from the next rotation on), active (signs here at once) or verify-only. Default: ${default}."`
	Signs string `name:"signs" placeholder:"KID" help:"The key that signs there, if it is another than said above."`
}

// Run is keyward import-from nestjs-jwks.
func (c *fromNestJWKSCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.NestJWKS(c.Dir, moving.Settings{Alg: c.Alg})
	return c.move(ctx, p, signFlags{}, keys, err)
}

// Run is keyward import-from node-jose.
func (c *fromNodeJoseCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.NodeJose(c.File, moving.Settings{Alg: c.Alg})
	return c.move(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from oauth2-server.
func (c *fromOAuth2ServerCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.OAuth2Server(c.File, moving.Settings{Alg: c.Alg})
	return c.move(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from redis.
func (c *fromRedisCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.Redis(ctx, c.Address, c.Password, moving.Settings{Alg: c.Alg})
	return c.move(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from jwks.
func (c *fromJWKSCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.JWKS(ctx, c.Address, moving.Settings{Alg: c.Alg})
	return c.move(ctx, p, signFlags{}, keys, err)
}

// Run is keyward import-from hydra.
func (c *fromHydraCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.Hydra(ctx, c.Source, moving.Settings{Alg: c.Alg})
	return c.move(ctx, p, c.signFlags, keys, err)
}

// move plans, shows the plan, asks, and does it.
func (f moveFlags) move(ctx context.Context, p *program, sign signFlags, keys []moving.Key, err error) error {
	defer moving.Wipe(keys)
	if err != nil {
		return err
	}
	if err := f.check(sign, keys); err != nil {
		return err
	}
	api, err := f.open()
	if err != nil {
		return err
	}
	m := mover{api: api, flags: f}
	if err := m.plan(ctx, keys, moving.Options{Now: now(), KeepFor: f.KeepFor, As: sign.As, Signs: sign.Signs}); err != nil {
		return err
	}
	return m.run(ctx, p)
}

func (f moveFlags) check(sign signFlags, keys []moving.Key) error {
	if f.KeepFor <= 0 {
		return &usageError{"--keep-for must be a duration above 0, as in 168h"}
	}
	if f.Alg != "" && !moving.ValidAlg(f.Alg) {
		return &usageError{"--alg must be an algorithm that Keyward has, as in RS256"}
	}
	if len(keys) == 0 {
		return errors.New("the source has no keys")
	}
	for _, k := range keys {
		if sign.Signs == "" || k.KID == sign.Signs && k.Private != nil {
			return nil
		}
	}
	return &usageError{fmt.Sprintf("--signs: the source has no private key %s", sign.Signs)}
}
