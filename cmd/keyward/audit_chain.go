package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/keys/signing"
)

const maxEventLine = 16 << 20 // bytes of an event

// chainCheck verifies a hash chain and compares it with a checkpoint. It holds
// one event at a time.
type chainCheck struct {
	chain      audit.Verifier
	checkpoint *signing.Checkpoint // nil: no checkpoint
	reported   *client.AuditHead   // the head as the server reports it; nil: offline
}

func (c *chainCheck) readFile(p *program, name string) error {
	if name == "-" {
		return c.readLines(name, p.stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.readLines(name, f)
}

func (c *chainCheck) readLines(name string, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxEventLine)
	for n := 1; lines.Scan(); n++ {
		if err := c.addLine(lines.Bytes()); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s cannot be read completely: %w", name, err)
	}
	return nil
}

func (c *chainCheck) addLine(text []byte) error {
	e, err := audit.ParseLine(text)
	if err != nil {
		return fmt.Errorf("%w (the chain is intact up to seq %d)", err, c.chain.Head().Seq)
	}
	if err := c.chain.Add(e); err != nil {
		return err
	}
	hash := hex.EncodeToString(e.Hash)
	kept, said := c.checkpoint, c.reported
	switch {
	case kept != nil && kept.TenantID != e.TenantID:
		return fmt.Errorf("the checkpoint belongs to another tenant, %s", kept.TenantID)
	case kept != nil && kept.Seq == e.Seq && kept.Hash != hash:
		return fmt.Errorf("the history up to seq %d was rewritten since the checkpoint: its hash is %s, and was %s", e.Seq, hash, kept.Hash)
	case said != nil && said.Seq == e.Seq && said.Hash != hash:
		return fmt.Errorf("the server contradicts itself: the hash of seq %d is %s, and it says %s", e.Seq, hash, said.Hash)
	}
	return nil
}

// checkEnd verifies, after the last line, that the chain is not truncated. name
// is used in errors.
func (c *chainCheck) checkEnd(name string) error {
	seq := c.chain.Head().Seq
	switch {
	case seq == 0:
		return errors.New("no event in " + name)
	case c.checkpoint != nil && c.checkpoint.Seq > seq:
		return fmt.Errorf("%s ends at seq %d, and the checkpoint is at seq %d: events are missing", name, seq, c.checkpoint.Seq)
	case c.reported != nil && c.reported.Seq > seq:
		return fmt.Errorf("%s ends at seq %d, and the server reports %d events: events are missing", name, seq, c.reported.Seq)
	}
	return nil
}
