package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/moving"
)

type importFromCmd struct {
	NestJWKS     fromNestJWKSCmd     `cmd:"" name:"nestjs-jwks" help:"Import the key directory of nestjs-jwks as keys to verify with."`
	NodeJose     fromNodeJoseCmd     `cmd:"" name:"node-jose" help:"Import the keys.json of node-jose: the last key signs, the others verify."`
	OAuth2Server fromOAuth2ServerCmd `cmd:"" name:"oauth2-server" help:"Import the PEM file of @jmondi/oauth2-server."`
	Redis        fromRedisCmd        `cmd:"" name:"redis" help:"Import the Redis layout of How to JWKS: the active key signs."`
	JWKS         fromJWKSCmd         `cmd:"" name:"jwks" help:"Import the JWK Set of any issuer as keys to verify with."`
	Hydra        fromHydraCmd        `cmd:"" name:"hydra" help:"Import an Ory Hydra key set: the first key signs, the others verify."`
	JWKFile      fromJWKFileCmd      `cmd:"" name:"jwk-file" help:"Import a JWK Set in a file: the first private key signs."`
	PKCS12       fromPKCS12Cmd       `cmd:"" name:"pkcs12" help:"Import a PKCS#12 file: the first private key signs."`
	Keycloak     fromKeycloakCmd     `cmd:"" name:"keycloak" help:"Import a Keycloak realm export: the first provider signs."`
	Dotnet       fromDotnetCmd       `cmd:"" name:"dotnet" aliases:"duende" help:"Import keys of Duende IdentityServer (the newest signs) or of a .NET program."`
}

type (
	fromNestJWKSCmd struct {
		Dir string `arg:"" placeholder:"DIR" help:"Read this keysDirectory: metadata.json and <kid>.pem."`
		moveFlags
	}
	fromNodeJoseCmd struct {
		File string `arg:"" help:"Read this file, written by keystore.toJSON(true)."`
		moveFlags
		signFlags
	}
	fromOAuth2ServerCmd struct {
		File string `arg:"" help:"Read this PEM file, the one JwtService uses."`
		moveFlags
		signFlags
	}
	fromRedisCmd struct {
		Address  string `arg:"" name:"address" help:"Connect to this Redis, as in redis://host:6379/0 or rediss://host."`
		Password string `name:"redis-password" var:"REDISCLI_AUTH" placeholder:"PASSWORD" help:"Authenticate with this password instead of one in the URL."`
		moveFlags
		signFlags
	}
	fromJWKSCmd struct {
		Address string `arg:"" name:"address" help:"Fetch this URL: https, or http on this machine."`
		moveFlags
	}
	fromJWKFileCmd struct {
		File string `arg:"" help:"Read this file."`
		moveFlags
		signFlags
	}
	fromPKCS12Cmd struct {
		File         string `arg:"" help:"Read this file."`
		PasswordFile string `name:"password-file" placeholder:"FILE" help:"Read the password from this file; - for standard input. Default: none."`
		KIDFrom      string `name:"kid-from" default:"thumbprint" enum:"thumbprint,alias,certificate" help:"Name each key by its RFC 7638 thumbprint, its alias in the file (Nimbus, Spring) or the SHA-1 hash of its certificate (.NET). Default: ${default}."`
		KID          string `name:"kid" placeholder:"KID" help:"Set the kid of the only key."`
		moveFlags
		signFlags
	}
	fromKeycloakCmd struct {
		File string `arg:"" help:"Read this file, written by kc.sh export."`
		moveFlags
		signFlags
	}
	fromDotnetCmd struct {
		Path string `arg:"" help:"Read this directory with files is-signing-key-<id>.json, one such file, or a file with RSAParameters (JSON, XML), a JWK or PEM."`
		KID  string `name:"kid" placeholder:"KID" help:"Set the kid that tokens of the key name. Default: the one in the file, else the thumbprint."`
		moveFlags
		signFlags
	}
	fromHydraCmd struct {
		Source     string `arg:"" name:"source" help:"Read GET /admin/keys/{set} from this URL (https, or http on this machine) or from a file with the answer."`
		SecretFile string `name:"system-secret-file" placeholder:"FILE|-" help:"Read secrets.system here, one a line, and in the source the column keydata of hydra_jwk, one a line."`
		moveFlags
		signFlags
	}
)

// moveFlags are shared by all sources.
type moveFlags struct {
	Alg     string        `name:"alg" placeholder:"ALG" help:"Set the algorithm of keys without one."`
	KeepFor time.Duration `name:"keep-for" default:"168h" placeholder:"DURATION" help:"Keep keys without an expiry at the source for this long, at least the longest token lifetime there. Default: ${default} (seven days)."`
	DryRun  bool          `name:"dry-run" help:"Print the plan; change nothing."`
	confirmFlag
	tenantScope
}

// signFlags are shared by sources with private keys.
type signFlags struct {
	As    string `name:"as" default:"standby" enum:"standby,active,verify-only" help:"Import the source's signing key as standby (signs from the next rotation on), active (signs at once) or verify-only. Default: ${default}."`
	Signs string `name:"signs" placeholder:"KID" help:"Name the source's signing key, if it is not the one chosen by default."`
}

// Run is keyward import-from nestjs-jwks.
func (c *fromNestJWKSCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.NestJWKS(c.Dir, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, signFlags{}, keys, err)
}

// Run is keyward import-from node-jose.
func (c *fromNodeJoseCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.NodeJose(c.File, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from oauth2-server.
func (c *fromOAuth2ServerCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.OAuth2Server(c.File, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from redis.
func (c *fromRedisCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.Redis(ctx, c.Address, c.Password, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from jwks.
func (c *fromJWKSCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.JWKS(ctx, c.Address, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, signFlags{}, keys, err)
}

// Run is keyward import-from hydra.
func (c *fromHydraCmd) Run(ctx context.Context, p *program) error {
	var secrets []string
	if c.SecretFile != "" {
		text, err := readSource(p.stdin, c.SecretFile)
		if err != nil {
			return err
		}
		if secrets = strings.Fields(string(text)); len(secrets) == 0 {
			return &usageError{"--system-secret-file: it has no secret"}
		}
	}
	keys, err := moving.Hydra(ctx, c.Source, secrets, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from jwk-file.
func (c *fromJWKFileCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.JWKFile(c.File, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from pkcs12.
func (c *fromPKCS12Cmd) Run(ctx context.Context, p *program) error {
	o := moving.PKCS12Options{KIDFrom: c.KIDFrom, KID: c.KID}
	if c.PasswordFile != "" {
		password, err := readSource(p.stdin, c.PasswordFile)
		if err != nil {
			return err
		}
		o.Password = strings.TrimRight(string(password), "\r\n")
	}
	keys, err := moving.PKCS12(c.File, o, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from keycloak.
func (c *fromKeycloakCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.Keycloak(c.File, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// Run is keyward import-from dotnet.
func (c *fromDotnetCmd) Run(ctx context.Context, p *program) error {
	keys, err := moving.Dotnet(c.Path, c.KID, moving.Settings{Alg: c.Alg})
	return c.moveKeys(ctx, p, c.signFlags, keys, err)
}

// moveKeys plans the import, prints the plan, asks for confirmation, and
// executes it.
func (f moveFlags) moveKeys(ctx context.Context, p *program, sign signFlags, keys []moving.Key, err error) error {
	defer moving.Wipe(keys)
	if err != nil {
		return err
	}
	if err := f.checkFlags(sign, keys); err != nil {
		return err
	}
	api, err := f.openClient()
	if err != nil {
		return err
	}
	m := mover{api: api, flags: f}
	if err := m.makePlan(ctx, keys, moving.Options{Now: utcNow(), KeepFor: f.KeepFor, As: sign.As, Signs: sign.Signs}); err != nil {
		return err
	}
	return m.runPlan(ctx, p)
}

func (f moveFlags) checkFlags(sign signFlags, all []moving.Key) error {
	if f.KeepFor <= 0 {
		return &usageError{"--keep-for must be a duration above 0, as in 168h"}
	}
	if _, err := keys.ParseAlgorithm(f.Alg); f.Alg != "" && err != nil {
		return &usageError{"--alg must be an algorithm that Keyward supports, as in RS256"}
	}
	if len(all) == 0 {
		return errors.New("the source has no keys")
	}
	for _, k := range all {
		if sign.Signs == "" || k.KID == sign.Signs && k.Private != nil {
			return nil
		}
	}
	return &usageError{fmt.Sprintf("--signs: the source has no private key %s", sign.Signs)}
}
