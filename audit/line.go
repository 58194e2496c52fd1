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

// line is the JSON form of an event in the admin API.
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

// AppendLine appends an event as one line of JSON with everything that its hash
// covers: the time in microseconds and the exact bytes of its details. A line feed
// in details, which only a hand-written row can have, becomes a space.
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

// ParseLine reads an event written by AppendLine. It refuses unknown, duplicate
// and differently capitalized members, because other JSON readers could pick
// another value than the hash covers. Errors wrap [ErrLine].
func ParseLine(text []byte) (Event, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	if err := checkMembers(text, lineMembers); err != nil {
		return Event{}, err
	}
	if l.At.Nanosecond()%1000 != 0 {
		return Event{}, fmt.Errorf("%w: at is finer than a microsecond", ErrLine)
	}
	prev, err := parseHash(l.PrevHash)
	if err != nil {
		return Event{}, err
	}
	own, err := parseHash(l.Hash)
	return Event{
		Seq: l.Seq, At: l.At.UTC(), Tenant: l.Tenant, TenantID: l.TenantID, Action: l.Action, Actor: l.Actor, KID: l.KID,
		FromState: l.FromState, ToState: l.ToState, Reason: l.Reason, RequestID: l.RequestID, Details: l.Details,
		PrevHash: prev, Hash: own,
	}, err
}

func parseHash(text string) ([]byte, error) {
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

// checkMembers returns an error if an object, which is valid JSON, has an unknown
// or duplicate member.
func checkMembers(object []byte, known []string) error {
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
			if err := checkMembers(value, actorMembers); err != nil {
				return err
			}
		}
	}
	return nil
}
