package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// line is an event as the admin API writes it.
type line struct {
	Seq       int64           `json:"seq"`
	At        time.Time       `json:"at"`
	Tenant    string          `json:"tenant"`
	TenantID  uuid.UUID       `json:"tenant_id"`
	Action    Action          `json:"action"`
	Actor     Actor           `json:"actor"`
	KID       string          `json:"kid,omitempty"`
	FromState string          `json:"from_state,omitempty"`
	ToState   string          `json:"to_state,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	RequestID string          `json:"request_id,omitempty"`
	PrevHash  string          `json:"prev_hash"`
	Hash      string          `json:"hash"`
	Details   json.RawMessage `json:"details"` // last: see AppendLine
}

// AppendLine appends an event as one line of JSON, with all that its hash
// covers: the time in microseconds, and the very bytes of its details. (A line
// feed in details that somebody wrote by hand becomes a space.)
func AppendLine(dst []byte, e Event) []byte {
	b := bytes.NewBuffer(dst)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(line{
		Seq: e.Seq, At: e.At.UTC(), Tenant: e.Tenant, TenantID: e.TenantID, Action: e.Action, Actor: e.Actor, KID: e.KID,
		FromState: e.FromState, ToState: e.ToState, Reason: e.Reason, RequestID: e.RequestID,
		PrevHash: hex.EncodeToString(e.PrevHash), Hash: hex.EncodeToString(e.Hash), Details: json.RawMessage("{}"),
	})
	if err != nil { // texts and times that PostgreSQL has kept have a JSON form
		panic(fmt.Sprintf("audit: event %d of %s: %v", e.Seq, e.TenantID, err))
	}
	b.Truncate(b.Len() - len("{}}\n")) // the encoder would compact them
	start := b.Len()
	b.Write(e.Details)
	for i, c := range b.Bytes()[start:] {
		if c == '\n' || c == '\r' {
			b.Bytes()[start+i] = ' '
		}
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// ErrLine means that a line is not an event as AppendLine writes it.
var ErrLine = errors.New("audit: not an event of an export")

// ParseLine reads an event that AppendLine wrote. A member that no event has, or
// one that is there twice or in another case, is refused: other readers could
// take another value for the one that the hash covers. Errors wrap [ErrLine].
func ParseLine(text []byte) (Event, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	if err := exactly(text, lineMembers); err != nil {
		return Event{}, err
	}
	if l.At.Nanosecond()%1000 != 0 {
		return Event{}, fmt.Errorf("%w: at is finer than a microsecond", ErrLine)
	}
	prev, err := hash(l.PrevHash)
	if err != nil {
		return Event{}, err
	}
	own, err := hash(l.Hash)
	return Event{
		Seq: l.Seq, At: l.At.UTC(), Tenant: l.Tenant, TenantID: l.TenantID, Action: l.Action, Actor: l.Actor, KID: l.KID,
		FromState: l.FromState, ToState: l.ToState, Reason: l.Reason, RequestID: l.RequestID, Details: l.Details,
		PrevHash: prev, Hash: own,
	}, err
}

func hash(text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 32 || strings.ToLower(text) != text {
		return nil, fmt.Errorf("%w: a hash is not 64 digits of lower-case hexadecimal", ErrLine)
	}
	return b, nil
}

var (
	lineMembers = []string{
		"seq", "at", "tenant", "tenant_id", "action", "actor", "kid", "from_state", "to_state", "reason", "request_id", "prev_hash", "hash", "details",
	}
	actorMembers = []string{"type", "id", "name"}
)

// exactly demands that an object, which is valid JSON, has no members but
// those known, and none twice.
func exactly(object []byte, known []string) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	seen := make([]string, 0, len(known))
	for _, err := dec.Token(); err == nil && dec.More(); {
		name, _ := dec.Token()
		var value json.RawMessage
		if err = dec.Decode(&value); err != nil {
			return fmt.Errorf("%w: %w", ErrLine, err)
		}
		member, _ := name.(string)
		if !slices.Contains(known, member) || slices.Contains(seen, member) {
			return fmt.Errorf("%w: the member %.40q is unknown or there twice", ErrLine, member)
		}
		seen = append(seen, member)
		if member == "actor" && len(known) != len(actorMembers) {
			if err := exactly(value, actorMembers); err != nil {
				return err
			}
		}
	}
	return nil
}
