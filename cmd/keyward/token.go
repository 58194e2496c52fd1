package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyward/keyward/client"
)

type tokenCmd struct {
	Sign   tokenSignCmd   `cmd:"" help:"Sign a JWT and print it."`
	Verify tokenVerifyCmd `cmd:"" help:"Verify a JWT; exit 1 if it is not valid."`
}

type tokenSignCmd struct {
	Claims  string  `name:"claims" default:"{}" placeholder:"JSON|@FILE|-" help:"Set the claims; Keyward sets iss, iat, exp and jti."`
	Headers *string `name:"headers" placeholder:"JSON|@FILE" help:"Add these members to the header."`
	Alg     string  `name:"alg" placeholder:"ALG" help:"Sign with the policy of this algorithm. Default: the default policy."`
	Typ     string  `name:"typ" placeholder:"TYP" help:"Set typ, as in at+jwt. Default: JWT, or the profile's."`
	Profile string  `name:"profile" enum:",access_token,id_token" default:"" placeholder:"PROFILE" help:"Set the profile and demand its claims: access_token (RFC 9068: typ at+jwt; sub, aud, client_id) or id_token (sub, aud)."`
	TTL     *span   `name:"ttl" xor:"ttl" placeholder:"DURATION" help:"Set the lifetime. Default: the policy's."`
	Expired *span   `name:"expired" xor:"ttl" placeholder:"DURATION" help:"Sign a token that expired so long ago, for tests; only keyward dev does."`
	NBF     bool    `name:"nbf" help:"Set nbf to the time of issue."`
	tenantScope
}

// Run is keyward token sign. Only the token is written to stdout.
func (c *tokenSignCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	req := client.SignTokenRequest{Alg: nonEmpty(client.Alg(c.Alg)), Typ: nonEmpty(c.Typ), Profile: nonEmpty(client.TokenProfile(c.Profile)), TTLSeconds: c.TTL.seconds()}
	if ago := c.Expired.seconds(); ago != nil {
		req.TTLSeconds = new(-*ago)
	}
	if c.NBF {
		req.Nbf = &c.NBF
	}
	if req.Claims, err = p.readObject("--claims", c.Claims); err != nil {
		return err
	}
	if c.Headers != nil {
		headers, err := p.readObject("--headers", *c.Headers)
		if err != nil {
			return err
		}
		req.Headers = &headers
	}
	resp, err := api.Requests.SignToken(ctx, c.Tenant, req)
	return printAnswer(p, c.JSON, resp, err, func(t client.SignedToken) error {
		fmt.Fprintf(p.stderr, "Signed by %s (%s), valid until %s.\n", t.KID, t.Alg, formatTime(t.ExpiresAt))
		_, err := fmt.Fprintln(p.stdout, t.Token)
		return err
	})
}

type tokenVerifyCmd struct {
	Token    string `arg:"" optional:"" default:"-" placeholder:"TOKEN|@FILE|-" help:"Read the token: itself, @FILE, or - for standard input. Default: -."`
	Audience string `name:"audience" placeholder:"AUD" help:"Require this value in aud."`
	Issuer   string `name:"issuer" xor:"issuer" placeholder:"ISS" help:"Require this iss. Default: the tenant's issuer."`
	Any      bool   `name:"any-issuer" xor:"issuer" help:"Do not check iss, which some systems do not write."`
	Typ      string `name:"typ" placeholder:"TYP" help:"Require this typ."`

	Algorithms []string `name:"algorithm" placeholder:"ALG" help:"Require this algorithm; give it again to accept another. Default: that of the key."`
	Required   []string `name:"required-claim" placeholder:"CLAIM" help:"Require this claim; give it again for each."`
	tenantScope
}

// Run is keyward token verify.
func (c *tokenVerifyCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	token, err := p.readWord(c.Token)
	if err != nil {
		return err
	}
	if token == "" {
		return &usageError{"give a token, as an argument, as @FILE or on the standard input"}
	}
	verdict := client.VerifyTokenResult{}
	resp, err := api.Requests.VerifyToken(ctx, c.Tenant, client.VerifyTokenRequest{
		Token: token, Audience: nonEmpty(c.Audience), Issuer: nonEmpty(c.Issuer), Typ: nonEmpty(c.Typ),
		AnyIssuer: &c.Any, Algorithms: c.Algorithms, RequiredClaims: c.Required,
	})
	text, err := client.Bytes(resp, err)
	if err == nil {
		err = decodeAnswer(text, &verdict)
	}
	switch {
	case err != nil:
		return err
	case c.JSON:
		err = p.printJSON(text)
	default:
		err = p.showVerdict(verdict)
	}
	if err == nil && !verdict.Valid {
		return errReported
	}
	return err
}

func (p *program) showVerdict(v client.VerifyTokenResult) error {
	var out table
	out.add("valid", map[bool]string{true: "yes", false: "NO"}[v.Valid])
	if v.Code != nil {
		out.add("why", strings.Trim(string(*v.Code)+": "+optionalText(v.Detail, stringOf), ": -"))
	}
	out.add("key", optionalText(v.KID, stringOf))
	out.add("key state", optionalText(v.KeyState, stringOf))
	if v.Header != nil {
		out.add("header", string(*v.Header))
	}
	if v.Claims != nil {
		out.add("claims", string(*v.Claims))
	}
	return p.printTable(out)
}
