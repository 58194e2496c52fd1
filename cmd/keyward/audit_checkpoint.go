package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/keys/signing"
)

type auditCheckpointCmd struct {
	Out string `name:"out" placeholder:"FILE" help:"Where to write it. Default: the standard output."`
	aChain
}

// Run is keyward audit checkpoint. The checkpoint alone goes to the standard
// output.
func (c *auditCheckpointCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	text, err := client.Bytes(api.Requests.GetAuditCheckpoint(ctx, c.named()))
	if err != nil {
		return err
	}
	made, says, err := readCheckpoint(text)
	if err != nil {
		return err
	}
	if !c.JSON {
		text = []byte(made + "\n")
	}
	if err := p.writeFile(c.Out, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	p.evidence("The history of %s ends at seq %d. Keep this where nobody who administers the database can change it, with %s:\nkeyward audit verify --checkpoint will tell whether what went before was rewritten.",
		says.Tenant, says.Seq, keysURL(c.URL))
	return nil
}

// readCheckpoint takes the checkpoint out of what the API answers, and reads it
// without verifying it.
func readCheckpoint(answer []byte) (jws string, says signing.Checkpoint, err error) {
	var a client.AuditCheckpoint
	if err := decode(answer, &a); err != nil {
		return "", says, err
	}
	payload, is := payloadOf([]byte(a.Checkpoint))
	if !is {
		return "", says, client.ErrNotKeyward
	}
	return a.Checkpoint, says, decode(payload, &says)
}

// checkpoint reads the checkpoint and verifies it, if one is given. api is the
// server that is asked, nil for none.
func (c *auditVerifyCmd) checkpoint(ctx context.Context, p *program, api *client.Client) (*signing.Checkpoint, error) {
	if c.Checkpoint == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.Checkpoint)
	if err != nil {
		return nil, err
	}
	jws := strings.TrimSpace(string(text))
	if a := (client.AuditCheckpoint{}); json.Unmarshal(text, &a) == nil { // the whole answer of the API was kept
		jws = a.Checkpoint
	}
	set, err := c.keys(ctx, api)
	if err != nil {
		return nil, err
	}
	kept, err := signing.VerifyCheckpoint(jws, set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Checkpoint, err)
	}
	if c.JWKS == "" || sameOrigin(c.JWKS, c.URL) || sameOrigin(c.JWKS, kept.Issuer) {
		p.evidence("Warning: the keys that vouch for the checkpoint come from the server that is checked. Who could rewrite its history could also\nhave it give out other keys: keep %s with a checkpoint, and give it by --jwks.", keysURL(c.URL))
	}
	return &kept, nil
}
