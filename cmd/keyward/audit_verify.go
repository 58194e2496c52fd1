package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/keys/signing"
)

// auditVerifyCmd checks a hash chain. That of an export needs no server, no
// database and no credential.
type auditVerifyCmd struct {
	Export     []string `name:"export" placeholder:"FILE" help:"Check this export instead, without a server: NDJSON, oldest first and unfiltered; several that follow each other, or - for standard input."`
	Checkpoint string   `name:"checkpoint" placeholder:"FILE" help:"A checkpoint kept since: the chain must hold its event, unchanged. It names the tenant, if nothing else does."`
	JWKS       string   `name:"jwks" placeholder:"FILE|URL" help:"The platform's keys, that the checkpoint is signed by: its JWK Set or key history, best kept with it. Default: the key history of the server that is asked."`
	aChain
}

// verifyTime is how long the server may compute.
const verifyTime = 10 * time.Minute

// Run is keyward audit verify. It fails where the chain is broken.
func (c *auditVerifyCmd) Run(ctx context.Context, p *program) error {
	if c.Checkpoint == "" && c.JWKS != "" || c.Checkpoint != "" && c.JWKS == "" && c.Export != nil {
		return &usageError{"--checkpoint and --jwks go together: one is signed by a key of the other"}
	}
	if c.Export != nil {
		return c.offline(ctx, p)
	}
	return c.online(ctx, p)
}

// offline checks files.
func (c *auditVerifyCmd) offline(ctx context.Context, p *program) error {
	kept, err := c.checkpoint(ctx, p, nil)
	if err != nil {
		return err
	}
	check := chainCheck{checkpoint: kept}
	for _, name := range c.Export {
		if err := check.file(p, name); err != nil {
			return err
		}
	}
	if err := check.end("the export"); err != nil {
		return err
	}
	return c.proven(p, check.proof())
}

// online asks the server. Where a checkpoint is given, that is not taken on
// trust: every hash is computed here too.
func (c *auditVerifyCmd) online(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	kept, err := c.checkpoint(ctx, p, api)
	if err != nil {
		return err
	}
	if kept != nil {
		c.Tenant = cmp.Or(c.Tenant, kept.TenantID.String())
	}
	text, err := client.Bytes(api.Requests.VerifyAudit(ctx, c.named(), client.Patiently(verifyTime)))
	if p := (*client.Problem)(nil); err != nil && ctx.Err() == nil && !errors.As(err, &p) {
		return fmt.Errorf("%w\n  if its history is too long for one answer: keyward audit export --tenant %s | keyward audit verify --export -", err, c.named())
	}
	if err != nil {
		return err
	}
	var said client.AuditVerification
	if err := decode(text, &said); err != nil {
		return err
	}
	if kept == nil || !said.Intact {
		return c.told(p, text, said)
	}
	check := chainCheck{checkpoint: kept, said: &said.Head}
	if err := c.fetch(ctx, p, api, &check); err != nil {
		return err
	}
	return c.proven(p, check.proof())
}

// told prints what the server says.
func (c *auditVerifyCmd) told(p *program, text []byte, said client.AuditVerification) (err error) {
	switch {
	case c.JSON:
		if err = p.printJSON(text); err == nil && !said.Intact {
			err = errTold
		}
	case !said.Intact:
		err = fmt.Errorf("the server finds the chain of %s broken at seq %s: only the %d events before are as they were written",
			c.named(), maybe(said.BrokenAt, decimal), said.Events)
	default:
		_, err = fmt.Fprintf(p.stdout, "intact, the server says: %d events of %s, the last has the hash %s\n", said.Events, c.named(), said.Head.Hash)
	}
	return err
}

// fetch reads the whole chain from the server.
func (c *auditVerifyCmd) fetch(ctx context.Context, p *program, api *client.Client, check *chainCheck) error {
	in, err := auditFilter{}.stream(ctx, api, c.named(), exportForms["ndjson"])
	if err != nil {
		return err
	}
	defer in.Close()
	bar := p.progress("events", int(check.said.Seq))
	defer bar.done()
	if err := check.lines("the server's export", &counting{in, bar}); err != nil {
		return err
	}
	return check.end("the server's export")
}

// chainProof is what was computed here.
type chainProof struct {
	Intact     bool                `json:"intact"`
	TenantID   uuid.UUID           `json:"tenant_id"`
	Events     int64               `json:"events"`
	Head       client.AuditHead    `json:"head"`
	Checkpoint *signing.Checkpoint `json:"checkpoint,omitempty"` // that is part of it
}

func (c *chainCheck) proof() chainProof {
	head := c.chain.Head()
	return chainProof{
		Intact: true, TenantID: head.TenantID, Events: head.Seq, Checkpoint: c.checkpoint,
		Head: client.AuditHead{Seq: head.Seq, Hash: hex.EncodeToString(head.Hash)},
	}
}

func (c *auditVerifyCmd) proven(p *program, proof chainProof) error {
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(proof)
	}
	_, err := fmt.Fprintf(p.stdout, "intact: %d events of tenant %s, the last has the hash %s\n", proof.Events, proof.TenantID, proof.Head.Hash)
	if kept := proof.Checkpoint; err == nil && kept != nil {
		_, err = fmt.Fprintf(p.stdout, "the checkpoint by %s, of seq %d at %s, is part of it\n", kept.Issuer, kept.Seq, kept.At.Format(time.RFC3339Nano))
	}
	return err
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
