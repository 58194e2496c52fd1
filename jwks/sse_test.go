package jwks

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// heardOf reads a stream to its end.
func heardOf(r io.Reader) (all []string, e *events, err error) {
	e = newEvents(r, "first")
	for {
		got, err := e.read()
		if err != nil {
			return all, e, err
		}
		if got.data != nil {
			all = append(all, e.id+" "+got.name+" "+string(got.data))
		}
	}
}

func TestEventStreams(t *testing.T) {
	for name, test := range map[string]struct {
		stream string
		want   []string
		id     string
	}{
		"as Keyward writes":    {"retry: 2000\nid: 1\n\n:\n\nid: 2\nevent: key.revoked\ndata: {}\n\n", []string{"2 key.revoked {}"}, "2"},
		"CR LF":                {"id: 2\r\nevent: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n", []string{"2 a x", "2  y"}, "2"},
		"CR":                   {"id: 2\revent: a\rdata: x\r\rdata: y\r\r", []string{"2 a x", "2  y"}, "2"},
		"a mixture":            {"data: x\r\n\rdata: y\n\r\ndata: z\r\r\n", []string{"first  x", "first  y", "first  z"}, "first"},
		"several lines":        {"data: a\ndata:b\ndata\ndata:  c\n\n", []string{"first  a\nb\n\n c"}, "first"},
		"empty data":           {"data\n\nevent: a\n\n", []string{"first  "}, "first"},
		"a mark, comments":     {"\ufeff: hello\ndata: x\n: data: y\nunknown: z\nid\n\n", []string{"  x"}, ""},
		"cut off":              {"id: 2\ndata: x\n\nid: 3\ndata: y\n", []string{"2  x"}, "2"},
		"ids not for a header": {"id: 2\n\nid: a b\n\nid: a\x00b\n\nid: ä\n\nid: " + strings.Repeat("x", 257) + "\ndata: x\n\n", []string{"2  x"}, "2"},
		"nothing":              {"", nil, "first"},
	} {
		t.Run(name, func(t *testing.T) {
			for way, r := range map[string]io.Reader{
				"whole": strings.NewReader(test.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(test.stream)),
				"in halves": iotest.HalfReader(strings.NewReader(test.stream)), "with its end": iotest.DataErrReader(strings.NewReader(test.stream)),
			} {
				all, e, err := heardOf(r)
				if !reflect.DeepEqual(all, test.want) || e.id != test.id || err != io.EOF {
					t.Errorf("%s: heard %q to %q, %v", way, all, e.id, err)
				}
			}
		})
	}
}

// What a CR ends is heard before it is known whether a LF follows, and what
// follows the LF is not left lying.
func TestEventsAreHeardAsTheyEnd(t *testing.T) {
	for _, parts := range [][]string{{"data: x\r\n\r", "\ndata: y\r\n\r\n"}, {"data: x\n\n", "data: y\r\r"}} {
		r, w := io.Pipe()
		e := newEvents(r, "")
		for _, part := range parts {
			go func() { _, _ = io.WriteString(w, part) }()
			if got, err := e.read(); err != nil || got.data == nil {
				t.Errorf("%q: %+v, %v", part, got, err)
			}
		}
		_ = w.Close()
	}
}

func TestEventStreamsAreBounded(t *testing.T) {
	for name, stream := range map[string]string{
		"a line":       "data: " + strings.Repeat("x", maxEvent) + "\n\n",
		"an event":     strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", maxEvent/1000+1) + "\n",
		"empty lines":  strings.Repeat("data\n", 2*maxEvent) + "\n",
		"of no field":  strings.Repeat("x", maxEvent+1) + "\n\n",
		"in a comment": ":" + strings.Repeat("x", maxEvent) + "\n\n",
	} {
		if all, _, err := heardOf(strings.NewReader(stream)); !errors.Is(err, errTooLong) || all != nil {
			t.Errorf("%s: %d events, %v", name, len(all), err)
		}
	}
	long := strings.Repeat("x", maxEvent/2)
	if all, _, err := heardOf(strings.NewReader("data: " + long + "\n\n")); err != io.EOF || len(all) != 1 {
		t.Errorf("%d events, %v", len(all), err)
	}
}

func TestRetry(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"retry: 1500": 1500 * time.Millisecond, "retry:7": 7 * time.Millisecond, "retry: -1": 0, "retry: 1s": 0, "retry": 0, "retry: 99999999999": 0,
	} {
		if _, e, _ := heardOf(strings.NewReader(line + "\n\n")); e.retry != want {
			t.Errorf("%s: %s", line, e.retry)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("retry: 2000\r\nid: 1\r\n\r\n: x\r\revent: key.revoked\ndata: {\"kid\":\"1\"}\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		whole, e, err := heardOf(strings.NewReader(stream))
		parts, p, again := heardOf(iotest.OneByteReader(strings.NewReader(stream)))
		if !reflect.DeepEqual(whole, parts) || e.id != p.id || e.retry != p.retry || !errors.Is(again, err) {
			t.Errorf("%q at once, %q byte by byte; %v and %v", whole, parts, err, again)
		}
		if !sendable([]byte(e.id)) {
			t.Errorf("id %q", e.id)
		}
	})
}

// The kids heard of last are kept, and no more of them.
func TestRevokedKidsAreBounded(t *testing.T) {
	var r revoked
	for n := range 3 * maxRevoked {
		r.add(string(rune('a' + n)))
		r.add(string(rune('a' + n)))
	}
	_, oldest := r.kids["a"]
	_, latest := r.kids[string(rune('a'+3*maxRevoked-1))]
	if len(r.kids) != maxRevoked || len(r.order) != maxRevoked || oldest || !latest {
		t.Errorf("%d kids, %d in order, oldest %t, latest %t", len(r.kids), len(r.order), oldest, latest)
	}
}
