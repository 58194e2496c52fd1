package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
)

// historyCopy is the copy of a tenant's history, or of a part of one, in files that
// keyward audit export wrote. Its chain is intact; a checkpoint says whether it is the
// tenant's.
type historyCopy struct {
	chain  audit.Verifier
	before audit.Head // where the copy begins: seq 0, or the event before its first
	hashes []byte     // of its events, 32 bytes each
	events []historyEvent
}

// historyEvent is what a recovery needs of an event.
type historyEvent struct {
	seq       int64
	action    audit.Action
	kid       string // of key.revoked
	reason    keys.Reason
	id        uuid.UUID // of a credential that ended
	notBefore *time.Time
	byHand    bool // the operator repeats what it did
}

// readHistories reads copies of histories, by tenant. Each tenant's events must follow
// one another without a gap, in whatever files and between whatever others.
func readHistories(p *program, files []string) (map[uuid.UUID]*historyCopy, error) {
	copies := map[uuid.UUID]*historyCopy{}
	for _, name := range files {
		if err := readHistory(p, name, copies); err != nil {
			return nil, err
		}
	}
	return copies, nil
}

func readHistory(p *program, name string, copies map[uuid.UUID]*historyCopy) error {
	var in io.Reader = p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxEventLine)
	for n := 1; lines.Scan(); n++ {
		e, err := audit.ParseLine(lines.Bytes())
		if err == nil {
			if copies[e.TenantID] == nil {
				copies[e.TenantID] = newHistoryCopy(e)
			}
			err = copies[e.TenantID].add(e)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w\n  a copy is NDJSON of keyward audit export: without filters, oldest first", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s cannot be read completely: %w", name, err)
	}
	return nil
}

func newHistoryCopy(first audit.Event) *historyCopy {
	before := audit.Head{TenantID: first.TenantID, Seq: first.Seq - 1, Hash: first.PrevHash}
	return &historyCopy{chain: audit.VerifierAfter(before), before: before}
}

// add adds the next event. It remembers those that end something, and those that an
// operator has to repeat.
func (h *historyCopy) add(e audit.Event) error {
	if err := h.chain.Add(e); err != nil {
		return err
	}
	h.hashes = append(h.hashes, e.Hash...)
	kept := historyEvent{seq: e.Seq, action: e.Action, byHand: repeatedByHand(e.Action)}
	var details struct {
		ID        uuid.UUID
		NotBefore struct{ After *time.Time } `json:"not_before"`
	}
	switch e.Action {
	case audit.KeyRevoked:
		kept.kid, kept.reason = e.KID, keys.Reason(e.Reason)
	case audit.APIKeyRevoked, audit.WorkloadIdentityDeleted, audit.TenantUpdated:
		if err := json.Unmarshal(e.Details, &details); err != nil {
			return fmt.Errorf("the details of seq %d are not those of %s: %w", e.Seq, e.Action, err)
		}
		kept.id, kept.notBefore = details.ID, details.NotBefore.After
		kept.byHand = kept.byHand && (kept.notBefore == nil || !hasOneSetting(e.Details))
	default:
		if !kept.byHand {
			return nil
		}
	}
	h.events = append(h.events, kept)
	return nil
}

// repeatedByHand reports whether a recovery leaves what an event did to its operator.
func repeatedByHand(a audit.Action) bool {
	thing, _, _ := strings.Cut(string(a), ".")
	return slices.Contains([]string{"tenant", "policy", "domain", "webhook"}, thing) && a != audit.PolicyWaiting && a != audit.TenantRecovered
}

// hasOneSetting reports whether the details of tenant.updated have a single setting.
func hasOneSetting(details json.RawMessage) bool {
	var members map[string]json.RawMessage
	err := json.Unmarshal(details, &members)
	delete(members, "approval") // says who approved the change
	return err == nil && len(members) == 1
}

// hash returns the hash of the event at a seq; nil if the copy does not have it.
func (h *historyCopy) hash(seq int64) []byte {
	at := seq - h.before.Seq
	switch {
	case at == 0:
		return h.before.Hash
	case at < 0 || at > int64(len(h.hashes)/32):
		return nil
	}
	return h.hashes[(at-1)*32 : at*32]
}

// lostEvents are the events of a copy that a restored history lacks.
type lostEvents struct {
	count    int64
	attested int64 // the seq of the checkpoint: anybody can chain further events to it
	events   []historyEvent
}

// findLost returns the events that a tenant lost, if a copy of its history leads from a
// common event to that of the checkpoint. It prints what it finds, or why it does not
// know.
func (c *comparison) findLost(ctx context.Context, l signing.CheckpointLeaf, headSeq int64) (*lostEvents, error) {
	h := c.copies[l.TenantID]
	if h == nil {
		return nil, nil
	}
	say := func(format string, args ...any) {
		fmt.Fprintf(c.p.stdout, "%11s%s\n", "", fmt.Sprintf(format, args...))
	}
	if got := hex.EncodeToString(h.hash(l.Seq)); got != l.Hash {
		say("the copy of its history does not lead to the checkpoint (it has seq %d to %d): everything is replaced", h.before.Seq+1, h.chain.Head().Seq)
		return nil, nil
	}
	common, err := c.lastCommon(ctx, h, min(headSeq, l.Seq))
	if err != nil {
		return nil, err
	}
	if common < h.before.Seq {
		say("the copy of its history begins at seq %d, after the restored one ends: everything is replaced", h.before.Seq+1)
		return nil, nil
	}
	if written, err := c.writtenAfter(ctx, l.TenantID, common); err != nil {
		return nil, err
	} else if written { // what a credential that came back made is in no copy
		say("events were written after the restore, from seq %d: everything is replaced", common+1)
		return nil, nil
	}
	lost := &lostEvents{count: h.chain.Head().Seq - common, attested: l.Seq}
	for _, e := range h.events {
		if e.seq > common {
			lost.events = append(lost.events, e)
		}
	}
	if slices.ContainsFunc(lost.events, func(e historyEvent) bool { return e.action == audit.TenantDeleted }) {
		say("it was deleted at a later time: everything is replaced; delete it again")
		return nil, nil
	}
	say("the copy of its history has %s after seq %d, which revoked %s and %s", plural.Count(lost.count, "event"), common,
		plural.Count(len(lost.keys().Revoked), "key"), plural.Count(len(lost.credentials()), "credential"))
	if n := h.chain.Head().Seq - l.Seq; n > 0 {
		say("with %s newer than the checkpoint, which nothing attests: what these revoked counts too", plural.Count(n, "event"))
	}
	if hand := lost.byHand(); hand != "" {
		say("repeat by hand what is still wanted of %s", hand)
	}
	return lost, nil
}

// lastCommon returns the seq of the last event that the restored history and a copy share,
// at most highest; one below the copy's begin if there is none. A history that shares
// an event shares all before it.
func (c *comparison) lastCommon(ctx context.Context, h *historyCopy, highest int64) (int64, error) {
	var failed error
	n := sort.Search(int(highest-h.before.Seq+1), func(i int) bool { // the first event that differs
		if failed != nil {
			return true
		}
		seq := h.before.Seq + int64(i)
		var same bool
		same, failed = c.hasEvent(ctx, h.before.TenantID, seq, h.hash(seq))
		return !same
	})
	return h.before.Seq + int64(n) - 1, failed
}

// writtenAfter reports whether the restored history of a tenant has events after a seq
// that are not of a recovery which was interrupted. Those are an operator's, and only end
// credentials and approvals.
func (c *comparison) writtenAfter(ctx context.Context, tenantID uuid.UUID, seq int64) (written bool, err error) {
	endings := []audit.Action{audit.APIKeyRevoked, audit.WorkloadIdentityDeleted, audit.ApprovalUsed, audit.ApprovalRejected}
	err = c.d.AsPlatform(ctx, func(tx *db.Tx) error {
		for more := true; more && !written; {
			rows, err := tx.AuditChain(ctx, tenantID, seq, comparedAtOnce)
			if err != nil {
				return err
			}
			for _, row := range rows {
				own := row.ActorType == string(audit.ActorOperator) && slices.Contains(endings, audit.Action(row.Action))
				written, seq = written || !own, row.Seq
			}
			more = len(rows) == comparedAtOnce
		}
		return nil
	})
	return written, err
}

// hasEvent reports whether the restored history of a tenant has the event with a hash at a
// seq. Every history has seq 0, the begin.
func (c *comparison) hasEvent(ctx context.Context, tenantID uuid.UUID, seq int64, hash []byte) (has bool, err error) {
	if seq == 0 {
		return true, nil
	}
	err = c.d.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.HeadsAtCheckpoint(ctx, []uuid.UUID{tenantID}, []int64{seq}, []string{hex.EncodeToString(hash)})
		has = len(rows) == 1 && bytes.Equal(rows[0].Hash, hash)
		return err
	})
	return has, err
}

// replaces says what --revoke does to the tenants that differ.
func (c *comparison) replaces() string {
	known := 0
	for _, d := range c.differing {
		if d.lost != nil {
			known++
		}
	}
	switch known {
	case 0:
		return "all of theirs"
	case len(c.differing):
		return "what was revoked in the events of --history"
	}
	return fmt.Sprintf("all of theirs, for %d of them only what was revoked in the events of --history", known)
}

// credentials returns the ids of the credentials that ended in the lost events, nil if
// these are not known.
func (l *lostEvents) credentials() map[uuid.UUID]bool {
	if l == nil {
		return nil
	}
	ids := map[uuid.UUID]bool{}
	for _, e := range l.events {
		if e.action == audit.APIKeyRevoked || e.action == audit.WorkloadIdentityDeleted {
			ids[e.id] = true
		}
	}
	return ids
}

// keys returns what happened to keys in the lost events, nil if these are not known.
// Events that nothing attests only add to it: they change no reason, and move not_before
// neither back nor into the future.
func (l *lostEvents) keys() *moves.Lost {
	if l == nil {
		return nil
	}
	lost := &moves.Lost{Events: l.count, Revoked: map[string]keys.Reason{}}
	for _, e := range l.events {
		attested := e.seq <= l.attested
		if _, known := lost.Revoked[e.kid]; e.action == audit.KeyRevoked && (attested || !known) {
			lost.Revoked[e.kid] = e.reason
		}
		if at := e.notBefore; at != nil && (attested || !at.After(utcNow()) && (lost.NotBefore == nil || at.After(*lost.NotBefore))) {
			lost.NotBefore = at
		}
	}
	return lost
}

// byHand lists the events whose effects a recovery does not repeat, as in
// "policy.updated (seq 12), webhook.deleted (seq 14)".
func (l *lostEvents) byHand() string {
	var list []string
	for _, e := range l.events {
		if e.byHand {
			list = append(list, fmt.Sprintf("%s (seq %d)", e.action, e.seq))
		}
	}
	return strings.Join(list, ", ")
}
