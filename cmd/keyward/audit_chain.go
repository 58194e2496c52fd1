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

const longestLine = 16 << 20 // bytes of an event

// chainCheck reads a chain and looks for the event of a checkpoint on the way.
// It holds one event, however many there are.
type chainCheck struct {
	chain      audit.Verifier
	checkpoint *signing.Checkpoint // nil: none
	said       *client.AuditHead   // where the server says that the chain ended; nil: it was not asked
}

func (c *chainCheck) file(p *program, name string) error {
	if name == "-" {
		return c.lines(name, p.stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.lines(name, f)
}

func (c *chainCheck) lines(name string, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), longestLine)
	for n := 1; lines.Scan(); n++ {
		if err := c.line(lines.Bytes()); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s cannot be read to its end: %w", name, err)
	}
	return nil
}

func (c *chainCheck) line(text []byte) error {
	e, err := audit.ParseLine(text)
	if err != nil {
		return fmt.Errorf("%w (the chain is intact up to seq %d)", err, c.chain.Head().Seq)
	}
	if err := c.chain.Add(e); err != nil {
		return err
	}
	hash := hex.EncodeToString(e.Hash)
	kept, said := c.checkpoint, c.said
	switch {
	case kept != nil && kept.TenantID != e.TenantID:
		return fmt.Errorf("the checkpoint is of another tenant, %s", kept.TenantID)
	case kept != nil && kept.Seq == e.Seq && kept.Hash != hash:
		return fmt.Errorf("the history up to seq %d was rewritten since the checkpoint: its hash is %s, and was %s", e.Seq, hash, kept.Hash)
	case said != nil && said.Seq == e.Seq && said.Hash != hash:
		return fmt.Errorf("the server contradicts itself: the hash of seq %d is %s, and it says %s", e.Seq, hash, said.Hash)
	}
	return nil
}

// end is called after the last line of what is named.
func (c *chainCheck) end(name string) error {
	seq := c.chain.Head().Seq
	switch {
	case seq == 0:
		return errors.New("there is no event in " + name)
	case c.checkpoint != nil && c.checkpoint.Seq > seq:
		return fmt.Errorf("%s ends at seq %d, and the checkpoint is of seq %d: what follows is missing", name, seq, c.checkpoint.Seq)
	case c.said != nil && c.said.Seq > seq:
		return fmt.Errorf("%s ends at seq %d, and the server says that there are %d: what follows is missing", name, seq, c.said.Seq)
	}
	return nil
}
