package sse

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const maxEvent = 256 << 10

// readAll reads a stream to its end.
func readAll(r io.Reader) (all []string, e *Reader, err error) {
	e = NewReader(r, "first", maxEvent)
	for {
		got, err := e.Read()
		if err != nil {
			return all, e, err
		}
		if got.Data != nil {
			all = append(all, e.ID+" "+got.Name+" "+string(got.Data))
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
				all, e, err := readAll(r)
				if !reflect.DeepEqual(all, test.want) || e.ID != test.id || err != io.EOF {
					t.Errorf("%s: heard %q to %q, %v", way, all, e.ID, err)
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
		e := NewReader(r, "", maxEvent)
		for _, part := range parts {
			go func() { _, _ = io.WriteString(w, part) }()
			if got, err := e.Read(); err != nil || got.Data == nil {
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
		if all, _, err := readAll(strings.NewReader(stream)); !errors.Is(err, ErrTooLong) || all != nil {
			t.Errorf("%s: %d events, %v", name, len(all), err)
		}
	}
	long := strings.Repeat("x", maxEvent/2)
	if all, _, err := readAll(strings.NewReader("data: " + long + "\n\n")); err != io.EOF || len(all) != 1 {
		t.Errorf("%d events, %v", len(all), err)
	}
}

func TestRetry(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"retry: 1500": 1500 * time.Millisecond, "retry:7": 7 * time.Millisecond, "retry: -1": 0, "retry: 1s": 0, "retry": 0, "retry: 99999999999": 0,
	} {
		if _, e, _ := readAll(strings.NewReader(line + "\n\n")); e.Retry != want {
			t.Errorf("%s: %s", line, e.Retry)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("retry: 2000\r\nid: 1\r\n\r\n: x\r\revent: key.revoked\ndata: {\"kid\":\"1\"}\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		whole, e, err := readAll(strings.NewReader(stream))
		parts, p, again := readAll(iotest.OneByteReader(strings.NewReader(stream)))
		if !reflect.DeepEqual(whole, parts) || e.ID != p.ID || e.Retry != p.Retry || !errors.Is(again, err) {
			t.Errorf("%q at once, %q byte by byte; %v and %v", whole, parts, err, again)
		}
		if !IsSendable(e.ID) {
			t.Errorf("id %q", e.ID)
		}
	})
}

// A stream that arrives byte by byte costs no more than one that arrives whole:
// no byte is looked at again when the next one comes.
func TestReadingIsLinear(t *testing.T) {
	const long = 2 << 20
	r := NewReader(iotest.OneByteReader(strings.NewReader("data: "+strings.Repeat("x", long)+"\n\n")), "", long+100)
	if got, err := r.Read(); err != nil || len(got.Data) != long {
		t.Errorf("%d bytes, %v", len(got.Data), err)
	}
}

func TestCommentsLastUntilAField(t *testing.T) {
	r := NewReader(strings.NewReader(": too slow\n\n: stopping\ndata: x\n\n"), "", maxEvent)
	for _, want := range []string{"too slow", ""} {
		if _, err := r.Read(); err != nil || r.Comment != want {
			t.Errorf("comment %q, %v", r.Comment, err)
		}
	}
}
