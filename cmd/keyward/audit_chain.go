package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/signing"
)

const maxEventLine = 16 << 20 // bytes of an event

// chainCheck verifies a hash chain and compares it with checkpoints. It holds
// one event at a time.
type chainCheck struct {
	chain       audit.Verifier
	first       int64                // seq of the first event
	checkpoints []*keptCheckpoint    // in the order of their seq
	pins        []signing.Checkpoint // of the checkpoints, for the chain's tenant
	part        bool                 // the chain begins at the first checkpoint or before, not at seq 1
	reported    *client.AuditHead    // the head as the server reports it; nil: offline
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
	if err != nil && c.first == 0 && bytes.HasPrefix(text, []byte(audit.CSVColumns[0]+",")) {
		return errors.New("the export is CSV, whose texts are not those that were hashed: export NDJSON")
	}
	if err != nil {
		return fmt.Errorf("%w (the chain is intact up to seq %d)", err, c.chain.Head().Seq)
	}
	if c.first == 0 {
		if err := c.begin(e); err != nil {
			return err
		}
	}
	if err := c.otherKind(e); err != nil {
		return err
	}
	if err := c.chain.Add(e); err != nil {
		return err
	}
	hash := hex.EncodeToString(e.Hash)
	if said := c.reported; said != nil && said.Seq == e.Seq && said.Hash != hash {
		return fmt.Errorf("the server contradicts itself: the hash of seq %d is %s, and it says %s", e.Seq, hash, said.Hash)
	}
	return c.comparePins(c.chain.Head())
}

// begin resolves the checkpoints for the tenant of the first event. A part begins with
// its first event; the hash before it is compared with the checkpoint.
func (c *chainCheck) begin(e audit.Event) error {
	for _, kept := range c.checkpoints {
		pin, err := kept.of(e.TenantID)
		if err != nil {
			return err
		}
		if pin.TenantID != e.TenantID {
			return fmt.Errorf("the checkpoint belongs to another tenant, %s", pin.TenantID)
		}
		c.pins = append(c.pins, pin)
	}
	c.first = e.Seq
	if !c.part {
		return nil
	}
	if from, to := c.pins[0], c.pins[1]; from.Seq > to.Seq {
		return fmt.Errorf("--from is at seq %d and --to at seq %d: exchange them", from.Seq, to.Seq)
	} else if e.Seq > from.Seq+1 {
		return fmt.Errorf("the export begins at seq %d and the checkpoint of --from is at seq %d: the events between are missing", e.Seq, from.Seq)
	}
	c.chain = audit.VerifierAfter(audit.Head{TenantID: e.TenantID, Seq: e.Seq - 1, Hash: e.PrevHash})
	return c.comparePins(c.chain.Head())
}

// otherKind explains why a well-formed export does not prove a whole history, where its
// form says so: that is no sign of a change.
func (c *chainCheck) otherKind(e audit.Event) error {
	last := c.chain.Head()
	switch {
	case c.first == e.Seq && last.Seq == 0 && e.Seq > 1:
		return fmt.Errorf("the export begins at seq %d: it is filtered, newest first, or a part of a history, and proves nothing by itself;\n"+
			"  export without filters, oldest first, or prove a part with --from and --to", e.Seq)
	case last.Seq > 0 && e.TenantID != last.TenantID:
		return fmt.Errorf("an event of another tenant, %s, follows seq %d: export one tenant at a time (--tenant)", e.TenantID, last.Seq)
	case last.Seq > 0 && e.Seq > last.Seq+1:
		return fmt.Errorf("incomplete at seq %d: the export is filtered, or events were removed from it; export without filters to tell", last.Seq+1)
	}
	return nil
}

// comparePins compares the chain's end with the checkpoints at its seq.
func (c *chainCheck) comparePins(head audit.Head) error {
	for _, pin := range c.pins {
		if hash := hex.EncodeToString(head.Hash); pin.Seq == head.Seq && pin.Hash != hash {
			return fmt.Errorf("the history up to seq %d was rewritten since the checkpoint: its hash is %s, and was %s", head.Seq, hash, pin.Hash)
		}
	}
	return nil
}

// checkEnd verifies, after the last line, that the chain is not truncated. name
// is used in errors.
func (c *chainCheck) checkEnd(name string) error {
	seq := c.chain.Head().Seq
	if c.first == 0 {
		return errors.New("no event in " + name)
	}
	for _, pin := range c.pins {
		if pin.Seq > seq {
			return fmt.Errorf("%s ends at seq %d, and the checkpoint is at seq %d: events are missing", name, seq, pin.Seq)
		}
	}
	if c.reported != nil && c.reported.Seq > seq {
		return fmt.Errorf("%s ends at seq %d, and the server reports %s: events are missing", name, seq, plural.Count(c.reported.Seq, "event"))
	}
	return nil
}
