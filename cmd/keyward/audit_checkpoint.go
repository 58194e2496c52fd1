package main

import (
	"context"
	"io"
	"mime"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/signing"
)

type auditCheckpointCmd struct {
	All bool   `name:"all" help:"Include the histories of all tenants, with the end of each, so that keyward recover can compare them later."`
	Out string `name:"out" placeholder:"FILE" help:"Write to this file. Default: standard output."`
	historyScope
}

// Run is keyward audit checkpoint. Only the checkpoint is written to stdout.
func (c *auditCheckpointCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	if c.All {
		return c.writeAll(ctx, p, api)
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

// writeAll writes the checkpoint of all tenants with its leaves. A file appears only if it
// is complete and its leaves have the signed root.
func (c *auditCheckpointCmd) writeAll(ctx context.Context, p *program, api *client.Client) error {
	resp, err := api.Requests.GetPlatformCheckpoint(ctx, nil, client.Accept(exportForms["ndjson"]))
	in, err := client.Stream(resp, err)
	if err != nil {
		return err
	}
	defer in.Close()
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != exportForms["ndjson"] {
		return client.ErrNotKeyward
	}
	var content checkpointContent
	if err := p.writeFile(c.Out, func(w io.Writer) (err error) {
		content, err = readCheckpointContent(io.TeeReader(in, w), nil)
		return err
	}); err != nil {
		return err
	}
	p.printNote("The checkpoint has the %s of %s. Keep it out of reach of the database's administrators and its backups, together with\n%s: keyward recover --checkpoint detects what a restore brought back.",
		plural.Noun(content.tree.Size(), "history"), plural.Count(content.tree.Size(), "tenant"), keysURL(c.URL))
	return nil
}
