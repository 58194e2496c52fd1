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
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/signing"
)

// auditVerifyCmd verifies a hash chain. Verifying an export needs no server,
// database or credential.
type auditVerifyCmd struct {
	Files      []string `arg:"" optional:"" name:"file" help:"Verify this export; the same as --export."`
	Export     []string `name:"export" placeholder:"FILE" help:"Verify this export offline: NDJSON, oldest first, unfiltered; repeat for consecutive files, - for standard input."`
	Checkpoint string   `name:"checkpoint" placeholder:"FILE|URI" help:"Require the chain to contain this checkpoint's event, unchanged; s3://bucket/prefix/name or file:///directory/name for one that KEYWARD_CHECKPOINTS wrote. The checkpoint of one tenant also names it."`
	From       string   `name:"from" placeholder:"FILE|URI" help:"Verify a part of a history, from this checkpoint to that of --to."`
	To         string   `name:"to" placeholder:"FILE|URI" help:"Verify a part of a history, up to this checkpoint."`
	JWKS       string   `name:"jwks" placeholder:"FILE|URL" help:"Verify the checkpoint with these platform keys: a JWK Set or a key history; s3://bucket/prefix/name for those in a bucket. Default: the server's key history."`
	historyScope
}

// verifyTimeout is the timeout of the server's verification.
const verifyTimeout = 10 * time.Minute

// Run is keyward audit verify. It returns an error if the chain is broken.
func (c *auditVerifyCmd) Run(ctx context.Context, p *program) error {
	c.Export = append(c.Export, c.Files...)
	kept := c.Checkpoint != "" || c.From != ""
	switch {
	case (c.From == "") != (c.To == ""):
		return &usageError{"--from and --to go together: a part of a history lies between two checkpoints"}
	case c.From != "" && c.Checkpoint != "":
		return &usageError{"--checkpoint is for a whole history, --from and --to for a part of one"}
	case !kept && c.JWKS != "" || kept && c.JWKS == "" && c.Export != nil:
		return &usageError{"--checkpoint and --jwks go together: one is signed by a key of the other"}
	}
	if c.Export != nil {
		return c.verifyOffline(ctx, p)
	}
	return c.verifyOnline(ctx, p)
}

// loadCheckpoints reads and verifies the checkpoints of --checkpoint, --from and --to. The
// caller must call remove after the last use of what it returns, also after an error.
func (c *auditVerifyCmd) loadCheckpoints(ctx context.Context, p *program, api *client.Client) (kept []*keptCheckpoint, remove func(), err error) {
	var copies []func()
	remove = func() {
		for _, removeCopy := range copies {
			removeCopy()
		}
	}
	for _, name := range []string{c.Checkpoint, c.From, c.To} {
		if name == "" {
			continue
		}
		file, removeCopy, err := localCopy(ctx, name)
		if err != nil {
			return nil, remove, err
		}
		copies = append(copies, removeCopy)
		k, err := c.loadCheckpoint(ctx, p, api, file)
		if err != nil {
			return nil, remove, err
		}
		kept = append(kept, k)
	}
	return kept, remove, nil
}

// verifyOffline verifies the files of --export.
func (c *auditVerifyCmd) verifyOffline(ctx context.Context, p *program) error {
	kept, remove, err := c.loadCheckpoints(ctx, p, nil)
	defer remove()
	if err != nil {
		return err
	}
	check := chainCheck{checkpoints: kept, part: c.From != ""}
	for _, name := range c.Export {
		if err := check.readFile(p, name); err != nil {
			return err
		}
	}
	if err := check.checkEnd("the export"); err != nil {
		return err
	}
	return c.printProof(p, check.proof())
}

// verifyOnline asks the server to verify. With a checkpoint it also downloads
// the chain and recomputes every hash.
func (c *auditVerifyCmd) verifyOnline(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	kept, remove, err := c.loadCheckpoints(ctx, p, api)
	defer remove()
	if err != nil {
		return err
	}
	if len(kept) > 0 && kept[0].one != nil {
		c.Tenant = cmp.Or(c.Tenant, kept[0].one.TenantID.String())
	}
	text, err := client.Bytes(api.Requests.VerifyAudit(ctx, c.tenantName(), client.Patiently(verifyTimeout)))
	if p := (*client.Problem)(nil); err != nil && ctx.Err() == nil && !errors.As(err, &p) {
		return fmt.Errorf("%w\n  if the history is too long for one request: keyward audit export --tenant %s | keyward audit verify --export -", err, c.tenantName())
	}
	if err != nil {
		return err
	}
	var said client.AuditVerification
	if err := decodeAnswer(text, &said); err != nil {
		return err
	}
	if len(kept) == 0 || !said.Intact {
		return c.printServerResult(p, text, said)
	}
	check := chainCheck{checkpoints: kept, reported: &said.Head}
	if err := c.fetchChain(ctx, p, api, &check); err != nil {
		return err
	}
	return c.printProof(p, check.proof())
}

// printServerResult prints the server's verdict. It returns an error if the
// chain is broken.
func (c *auditVerifyCmd) printServerResult(p *program, text []byte, said client.AuditVerification) (err error) {
	switch {
	case c.JSON:
		if err = p.printJSON(text); err == nil && !said.Intact {
			err = errReported
		}
	case !said.Intact:
		err = fmt.Errorf("the server reports the chain of %s broken at seq %s: only the %s before %s intact",
			c.tenantName(), optionalText(said.BrokenAt, formatInt), plural.Count(said.Events, "event"), plural.Verb(said.Events, "is", "are"))
	default:
		_, err = fmt.Fprintf(p.stdout, "intact according to the server: %s of %s, head hash %s\n", plural.Count(said.Events, "event"), c.tenantName(), said.Head.Hash)
	}
	return err
}

// fetchChain downloads the whole chain into check.
func (c *auditVerifyCmd) fetchChain(ctx context.Context, p *program, api *client.Client, check *chainCheck) error {
	in, err := auditFilter{}.openExport(ctx, api, c.tenantName(), exportForms["ndjson"])
	if err != nil {
		return err
	}
	defer in.Close()
	bar := p.newProgress("events", int(check.reported.Seq))
	defer bar.done()
	if err := check.readLines("the server's export", &countingReader{in, bar}); err != nil {
		return err
	}
	return check.checkEnd("the server's export")
}

// chainProof is the result of a local verification.
type chainProof struct {
	Intact     bool                `json:"intact"`
	TenantID   uuid.UUID           `json:"tenant_id"`
	Events     int64               `json:"events"`
	FirstSeq   int64               `json:"first_seq"` // more than 1: a part of a history
	Head       client.AuditHead    `json:"head"`
	Checkpoint *signing.Checkpoint `json:"checkpoint,omitempty"` // the last one that was verified to be part of the chain
}

func (c *chainCheck) proof() chainProof {
	head := c.chain.Head()
	proof := chainProof{
		Intact: true, TenantID: head.TenantID, Events: head.Seq - c.first + 1, FirstSeq: c.first,
		Head: client.AuditHead{Seq: head.Seq, Hash: hex.EncodeToString(head.Hash)},
	}
	if n := len(c.pins); n > 0 {
		proof.Checkpoint = &c.pins[n-1]
	}
	return proof
}

func (c *auditVerifyCmd) printProof(p *program, proof chainProof) error {
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(proof)
	}
	what := fmt.Sprintf("intact: %s of tenant %s, head hash %s\n", plural.Count(proof.Events, "event"), proof.TenantID, proof.Head.Hash)
	if proof.FirstSeq > 1 {
		what = fmt.Sprintf("intact: %s of tenant %s, seq %d to %d, head hash %s\n", plural.Count(proof.Events, "event"), proof.TenantID, proof.FirstSeq, proof.Head.Seq, proof.Head.Hash)
	}
	_, err := fmt.Fprint(p.stdout, what)
	if kept := proof.Checkpoint; err == nil && kept != nil {
		_, err = fmt.Fprintf(p.stdout, "includes the checkpoint by %s, at seq %d of %s\n", kept.Issuer, kept.Seq, kept.At.Format(time.RFC3339Nano))
	}
	return err
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
