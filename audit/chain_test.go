package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

func sample() audit.Event {
	return audit.Event{
		At: noon.Add(1500 * time.Nanosecond), Action: audit.KeyRevoked,
		Actor: audit.Actor{Type: audit.ActorAPIKey, ID: "id", Name: "näme"},
		KID:   "kid", FromState: "active", ToState: "revoked", Reason: "compromised", RequestID: "r-1",
		Details: json.RawMessage(`{ "b": 1, "a": "ü" }`),
	}
}

var sampleTenant = uuid.MustParse("0195a0b0-1111-7222-8333-444455556666")

// The hash of the sample, once and for all: a chain written by one version
// must verify under every later one.
const sampleHash = "4d47ed7f7f8ea65b9e768088d8b1ea63ce3b0a421d52038a3274f60285b48241"

func TestHashIsThatOfTheDocumentedLayout(t *testing.T) {
	_, events := audit.Chain(audit.Genesis(sampleTenant), []audit.Event{sample()})
	e := events[0]
	var b bytes.Buffer
	f := func(x []byte) { fmt.Fprintf(&b, "%s%s", []byte{0, 0, byte(len(x) >> 8), byte(len(x))}, x) }
	number := func(n int64) []byte {
		x, _ := hex.DecodeString(fmt.Sprintf("%016x", n))
		return x
	}
	f([]byte("keyward audit event v1"))
	f(sampleTenant[:])
	f(number(1))
	f(number(noon.UnixMicro() + 1))
	for _, s := range []string{
		"key.revoked", "api_key", "id", "näme", "kid", "active", "revoked", "compromised", "r-1", `{ "b": 1, "a": "ü" }`,
	} {
		f([]byte(s))
	}
	b.Write(make([]byte, 32))
	if want := sha256.Sum256(b.Bytes()); !bytes.Equal(e.Hash, want[:]) {
		t.Errorf("hash %x, by hand %x", e.Hash, want)
	}
	if got := hex.EncodeToString(e.Hash); got != sampleHash {
		t.Errorf("hash %s, but it was always %s", got, sampleHash)
	}
}

func TestEveryFieldIsHashed(t *testing.T) {
	hash := func(change func(*audit.Event), head audit.Head) string {
		e := sample()
		change(&e)
		_, events := audit.Chain(head, []audit.Event{e})
		return string(events[0].Hash)
	}
	head := audit.Genesis(sampleTenant)
	seen := map[string]string{hash(func(*audit.Event) {}, head): "the sample"}
	for name, change := range map[string]func(*audit.Event){
		"at":         func(e *audit.Event) { e.At = e.At.Add(time.Microsecond) },
		"action":     func(e *audit.Event) { e.Action += "x" },
		"actor type": func(e *audit.Event) { e.Actor.Type += "x" },
		"actor id":   func(e *audit.Event) { e.Actor.ID += "x" },
		"actor name": func(e *audit.Event) { e.Actor.Name += "x" },
		"kid":        func(e *audit.Event) { e.KID += "x" },
		"from":       func(e *audit.Event) { e.FromState += "x" },
		"to":         func(e *audit.Event) { e.ToState += "x" },
		"reason":     func(e *audit.Event) { e.Reason += "x" },
		"request id": func(e *audit.Event) { e.RequestID += "x" },
		"details":    func(e *audit.Event) { e.Details = json.RawMessage(`{"b":1,"a":"ü"}`) },
		"no details": func(e *audit.Event) { e.Details = nil },
		"a boundary": func(e *audit.Event) { e.FromState, e.ToState = "activer", "evoked" },
	} {
		h := hash(change, head)
		if other, ok := seen[h]; ok {
			t.Errorf("%s does not change the hash of %s", name, other)
		}
		seen[h] = name
	}
	for name, head := range map[string]audit.Head{
		"tenant":    audit.Genesis(uuid.Max),
		"seq":       {TenantID: sampleTenant, Seq: 1, Hash: make([]byte, 32)},
		"prev hash": {TenantID: sampleTenant, Hash: bytes.Repeat([]byte{1}, 32)},
	} {
		if other, ok := seen[hash(func(*audit.Event) {}, head)]; ok {
			t.Errorf("%s does not change the hash of %s", name, other)
		}
	}
}

func TestChainInParts(t *testing.T) {
	events := []audit.Event{sample(), {Action: audit.KeyCreated, At: noon}, sample()}
	given := []audit.Event{events[0], events[1], events[2]}
	whole, all := audit.Chain(audit.Genesis(sampleTenant), events)
	if !reflect.DeepEqual(events, given) {
		t.Error("Chain changed what it was given")
	}
	half, first := audit.Chain(audit.Genesis(sampleTenant), events[:1])
	end, rest := audit.Chain(half, events[1:])
	if !reflect.DeepEqual(end, whole) || !reflect.DeepEqual(append(first, rest...), all) {
		t.Error("a chain made in parts differs from one made at once")
	}
	for i, e := range all {
		if e.Seq != int64(i+1) || e.TenantID != sampleTenant {
			t.Errorf("event %d: seq %d of %s", i, e.Seq, e.TenantID)
		}
		if i > 0 && !bytes.Equal(e.PrevHash, all[i-1].Hash) {
			t.Errorf("event %d does not continue the one before", i)
		}
	}
	if none, events := audit.Chain(whole, nil); !reflect.DeepEqual(none, whole) || len(events) != 0 {
		t.Error("no events move the head")
	}
}

func TestTextsThatPostgreSQLCannotKeep(t *testing.T) {
	e := audit.Event{At: noon, Action: audit.KeyCreated, Reason: "a\x00b\xff", Details: json.RawMessage("{\"a\":\"\xff\"}")}
	_, events := audit.Chain(audit.Genesis(sampleTenant), []audit.Event{e})
	if got := events[0].Reason; got != "a\uFFFDb\uFFFD" {
		t.Errorf("reason %q", got)
	}
	if got := string(events[0].Details); got != "{\"a\":\"\uFFFD\"}" {
		t.Errorf("details %q", got)
	}
}
