package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/keys"
)

type auditCheckpointCmd struct {
	Out string `name:"out" placeholder:"FILE" help:"Write to this file. Default: standard output."`
	historyScope
}

// Run is keyward audit checkpoint. Only the checkpoint is written to stdout.
func (c *auditCheckpointCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	text, err := client.Bytes(api.Requests.GetAuditCheckpoint(ctx, c.tenantName()))
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
	p.printNote("The history of %s ends at seq %d. Keep this where nobody who administers the database can change it, with %s:\nkeyward audit verify --checkpoint will tell whether what went before was rewritten.",
		says.Tenant, says.Seq, keysURL(c.URL))
	return nil
}

// readCheckpoint extracts the checkpoint from an API answer and decodes it
// without verifying it.
func readCheckpoint(answer []byte) (jws string, says keys.Checkpoint, err error) {
	var a client.AuditCheckpoint
	if err := decodeAnswer(answer, &a); err != nil {
		return "", says, err
	}
	payload, is := payloadOf([]byte(a.Checkpoint))
	if !is {
		return "", says, client.ErrNotKeyward
	}
	return a.Checkpoint, says, decodeAnswer(payload, &says)
}

// loadCheckpoint reads and verifies the file of --checkpoint, nil without that
// flag. api may be nil if --jwks is given.
func (c *auditVerifyCmd) loadCheckpoint(ctx context.Context, p *program, api *client.Client) (*keys.Checkpoint, error) {
	if c.Checkpoint == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.Checkpoint)
	if err != nil {
		return nil, err
	}
	jws := strings.TrimSpace(string(text))
	if a := (client.AuditCheckpoint{}); json.Unmarshal(text, &a) == nil { // the file has the whole API answer
		jws = a.Checkpoint
	}
	set, err := c.loadKeys(ctx, api)
	if err != nil {
		return nil, err
	}
	kept, err := keys.VerifyCheckpoint(jws, set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Checkpoint, err)
	}
	if c.JWKS == "" || sameOrigin(c.JWKS, c.URL) || sameOrigin(c.JWKS, kept.Issuer) {
		p.printNote("Warning: the keys that vouch for the checkpoint come from the server that is checked. Who could rewrite its history could also\nhave it give out other keys: keep %s with a checkpoint, and give it by --jwks.", keysURL(c.URL))
	}
	return &kept, nil
}
