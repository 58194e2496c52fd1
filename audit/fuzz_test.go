package audit

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// A line that is read is an event that is written as a line of the same meaning: what is
// hashed is what other readers of JSON see.
func FuzzParseLine(f *testing.F) {
	_, events := Chain(Genesis(uuid.Max), []Event{{At: time.Unix(1, 1000), Action: KeyCreated, Actor: Actor{Type: ActorWorker, ID: "w", Name: "w"}, KID: "k", Details: []byte(`{"a" : [1e400, "\u0000"]}`)}})
	line := string(AppendLine(nil, events[0]))
	for _, seed := range []string{
		line, strings.Replace(line, `"seq"`, `"Seq"`, 1), strings.Replace(line, `"kid":"k"`, `"kid":"k","kid":"l"`, 1), strings.Replace(line, `000001Z`, `0000011Z`, 1), strings.Replace(line, `"k"`, `"\ud800"`, 1),
		"{}", "[]", "null", "", `{"details":`, strings.Repeat("[", 10_000), strings.Replace(line, "1,", "9223372036854775808,", 1), strings.Replace(line, "Z", "+23:59", 1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseLine([]byte(text))
		if err != nil {
			if !errors.Is(err, ErrLine) {
				t.Errorf("%v is not ErrLine", err)
			}
			return
		}
		again, err := ParseLine(AppendLine(nil, e))
		if err != nil {
			t.Fatalf("%q is read and not written: %v", text, err)
		}
		if !bytes.Equal(eventHash(e), eventHash(again)) && !bytes.ContainsAny(e.Details, "\r\n") {
			t.Errorf("%q has another hash when it is written", text)
		}
	})
}

// What is not a position that a feed has given is refused.
func FuzzPlace(f *testing.F) {
	good := place{7, uuid.Max, 9}.position(uuid.Nil, 1)
	for _, seed := range []string{good, good[1:], good + "A", strings.ToLower(good), "", "AAAA", "=", "\n" + good} {
		f.Add(seed, int64(1))
	}
	f.Fuzz(func(t *testing.T, position string, epoch int64) {
		p, err := parsePlace(uuid.Nil, epoch, position)
		// Package base64 passes over line feeds, which openapi.yaml refuses.
		if err == nil && p.position(uuid.Nil, epoch) != position && !strings.ContainsAny(position, "\r\n") {
			t.Errorf("%q is also %q", position, p.position(uuid.Nil, epoch))
		}
		if _, err := (Filter{Cursor: position}).position(); err != nil && !errors.Is(err, ErrBadCursor) {
			t.Error(err)
		}
	})
}
