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
	p.printNote("The history of %s ends at seq %d. Keep the checkpoint out of reach of the database's administrators, together with %s:\nkeyward audit verify --checkpoint detects a rewritten history.",
		says.Tenant, says.Seq, keysURL(c.URL))
	return nil
}

// readCheckpoint extracts the checkpoint from an API answer and decodes it
// without verifying it.
func readCheckpoint(answer []byte) (jws string, says signing.Checkpoint, err error) {
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
func (c *auditVerifyCmd) loadCheckpoint(ctx context.Context, p *program, api *client.Client) (*signing.Checkpoint, error) {
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
	kept, err := signing.VerifyCheckpoint(jws, set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Checkpoint, err)
	}
	if c.JWKS == "" || sameOrigin(c.JWKS, c.URL) || sameOrigin(c.JWKS, kept.Issuer) {
		p.printNote("Warning: the checkpoint was verified with keys from the checked server itself. An attacker able to rewrite its history could also\nreplace those keys: keep %s with a checkpoint, and pass it with --jwks.", keysURL(c.URL))
	}
	return &kept, nil
}
