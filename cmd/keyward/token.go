package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyward/keyward/client"
)

type tokenCmd struct {
	Sign   tokenSignCmd   `cmd:"" help:"Sign a JWT and print it."`
	Verify tokenVerifyCmd `cmd:"" help:"Verify a JWT; the exit code is 1 for one that is not valid."`
}

type tokenSignCmd struct {
	Claims  string  `name:"claims" default:"{}" placeholder:"JSON|@FILE|-" help:"Its claims; iss, iat, exp and jti are set by Keyward."`
	Headers *string `name:"headers" placeholder:"JSON|@FILE" help:"More members of its header."`
	Alg     string  `name:"alg" placeholder:"ALG" help:"Of the policy that signs. Default: the default one."`
	Typ     string  `name:"typ" placeholder:"TYP" help:"As in at+jwt. Default: JWT."`
	TTL     *span   `name:"ttl" placeholder:"DURATION" help:"How long it lives. Default: as the policy says."`
	NBF     bool    `name:"nbf" help:"Set nbf to the time of issue."`
	ofTenant
}

// Run is keyward token sign. The token alone goes to the standard output.
func (c *tokenSignCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	req := client.SignTokenRequest{Alg: given(client.Alg(c.Alg)), Typ: given(c.Typ), TTLSeconds: c.TTL.seconds()}
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
	return answered(p, c.JSON, resp, err, func(t client.SignedToken) error {
		fmt.Fprintf(p.stderr, "Signed by %s (%s), good until %s.\n", t.KID, t.Alg, when(t.ExpiresAt))
		_, err := fmt.Fprintln(p.stdout, t.Token)
		return err
	})
}

type tokenVerifyCmd struct {
	Token    string `arg:"" optional:"" default:"-" placeholder:"TOKEN|@FILE|-" help:"The token, @FILE or - for the standard input. Default: the standard input."`
	Audience string `name:"audience" placeholder:"AUD" help:"Must be among its aud."`
	Issuer   string `name:"issuer" placeholder:"ISS" help:"Must be its iss. Default: the tenant's."`
	Typ      string `name:"typ" placeholder:"TYP" help:"Must be its typ."`
	ofTenant
}

// Run is keyward token verify.
func (c *tokenVerifyCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
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
		Token: token, Audience: given(c.Audience), Issuer: given(c.Issuer), Typ: given(c.Typ),
	})
	text, err := client.Bytes(resp, err)
	if err == nil {
		err = decode(text, &verdict)
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
		return errTold
	}
	return err
}

func (p *program) showVerdict(v client.VerifyTokenResult) error {
	var out table
	out.add("valid", map[bool]string{true: "yes", false: "NO"}[v.Valid])
	if v.Code != nil {
		out.add("why", strings.Trim(string(*v.Code)+": "+maybe(v.Detail, text), ": -"))
	}
	out.add("key", maybe(v.KID, text))
	out.add("key state", maybe(v.KeyState, text))
	if v.Header != nil {
		out.add("header", string(*v.Header))
	}
	if v.Claims != nil {
		out.add("claims", string(*v.Claims))
	}
	return p.show(out)
}
