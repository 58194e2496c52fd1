package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

// auditVerifyCmd checks a hash chain from an export. It needs no server, no
// database and no credential.
type auditVerifyCmd struct {
	Export     []string `name:"export" required:"" placeholder:"FILE" help:"An export in NDJSON, oldest first and unfiltered; several that follow each other, or - for standard input."`
	Checkpoint string   `name:"checkpoint" placeholder:"FILE" help:"A checkpoint kept since: the export must hold its event, unchanged."`
	JWKS       string   `name:"jwks" placeholder:"FILE|URL" help:"The platform's keys, that the checkpoint is signed by: its JWK Set, kept with it or at <public URL>/.well-known/jwks.json."`
}

const (
	longestLine   = 16 << 20 // bytes of an event
	longestKeySet = 1 << 20
)

// Run is keyward audit verify. It fails where the chain is broken.
func (c *auditVerifyCmd) Run(ctx context.Context, p *program) error {
	kept, err := c.checkpoint(ctx)
	if err != nil {
		return err
	}
	check := chainCheck{checkpoint: kept}
	for _, name := range c.Export {
		if err := check.file(p, name); err != nil {
			return err
		}
	}
	if err := check.end(); err != nil {
		return err
	}
	head := check.chain.Head()
	fmt.Fprintf(p.stdout, "intact: %d events of tenant %s, the last has the hash %x\n", head.Seq, head.TenantID, head.Hash)
	if kept != nil {
		fmt.Fprintf(p.stdout, "the checkpoint by %s, of seq %d at %s, is part of it\n", kept.Issuer, kept.Seq, kept.At.Format(time.RFC3339Nano))
	}
	return nil
}

// checkpoint reads the checkpoint and verifies it, if one is given.
func (c *auditVerifyCmd) checkpoint(ctx context.Context) (*keys.Checkpoint, error) {
	switch {
	case c.Checkpoint == "" && c.JWKS == "":
		return nil, nil
	case c.Checkpoint == "" || c.JWKS == "":
		return nil, &usageError{"--checkpoint and --jwks go together: one is signed by a key of the other"}
	}
	text, err := os.ReadFile(c.Checkpoint)
	if err != nil {
		return nil, err
	}
	set, err := readKeySet(ctx, c.JWKS)
	if err != nil {
		return nil, err
	}
	kept, err := keys.VerifyCheckpoint(strings.TrimSpace(string(text)), set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Checkpoint, err)
	}
	return &kept, nil
}

// readKeySet reads a JWK Set from a file or a URL.
func readKeySet(ctx context.Context, from string) ([]byte, error) {
	if !strings.HasPrefix(from, "https://") && !strings.HasPrefix(from, "http://") {
		return os.ReadFile(from)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, &usageError{"--jwks must be a file or a URL"}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the keys cannot be fetched: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the keys cannot be fetched: %s answers %s", r.URL.Host, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, longestKeySet))
}

// chainCheck reads a chain and looks for the event of a checkpoint on the way.
// It holds one event, however many there are.
type chainCheck struct {
	chain      audit.Verifier
	checkpoint *keys.Checkpoint // nil: none
}

func (c *chainCheck) file(p *program, name string) error {
	in := p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), longestLine)
	for n := 1; lines.Scan(); n++ {
		if err := c.line(lines.Bytes()); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
	}
	return lines.Err()
}

func (c *chainCheck) line(text []byte) error {
	e, err := audit.ParseLine(text)
	if err != nil {
		return fmt.Errorf("%w (the chain is intact up to seq %d)", err, c.chain.Head().Seq)
	}
	if err := c.chain.Add(e); err != nil {
		return err
	}
	kept := c.checkpoint
	switch {
	case kept == nil:
	case kept.TenantID != e.TenantID:
		return fmt.Errorf("the checkpoint is of another tenant, %s", kept.TenantID)
	case kept.Seq == e.Seq && kept.Hash != hex.EncodeToString(e.Hash):
		return fmt.Errorf("the history up to seq %d was rewritten since the checkpoint: its hash is %x, and was %s", e.Seq, e.Hash, kept.Hash)
	}
	return nil
}

// end is called after the last line.
func (c *chainCheck) end() error {
	seq := c.chain.Head().Seq
	if seq == 0 {
		return errors.New("there is no event in the export")
	}
	if c.checkpoint != nil && c.checkpoint.Seq > seq {
		return fmt.Errorf("the export ends at seq %d, and the checkpoint is of seq %d: what follows is missing", seq, c.checkpoint.Seq)
	}
	return nil
}
