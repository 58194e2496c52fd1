package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// block is what is between two empty lines of a stream.
type block struct {
	id, event, data, comment, retry string
}

// listening is a client of a stream (WHATWG HTML section 9.2.6).
type listening struct {
	t     testing.TB
	res   *http.Response
	body  *bufio.Reader
	id    string // the last
	leave func()
}

// listenTo opens a stream and reads its first block. What was read is held
// against the document when the client leaves.
func (w *world) listenTo(url, key, after string) *listening {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	var read bytes.Buffer
	l := &listening{t: w.t, res: res, body: bufio.NewReader(io.TeeReader(res.Body, &read))}
	l.leave = sync.OnceFunc(func() {
		cancel()
		res.Body.Close()
		w.contract.check(w.t, r, &answer{t: w.t, Response: res, body: read.Bytes()})
	})
	w.t.Cleanup(l.leave)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" ||
		res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Accel-Buffering") != "no" {
		w.t.Fatalf("%s: %d %v", url, res.StatusCode, res.Header)
	}
	if b := l.block(); b.retry != "2000" || b.id == "" || after != "" && b.id != after || b.event+b.data != "" {
		w.t.Errorf("the stream began with %+v", b)
	}
	return l
}

// block reads to the next empty line; the end of the stream fails the test.
func (l *listening) block() (b block) {
	l.t.Helper()
	for {
		line, err := l.body.ReadString('\n')
		if err != nil {
			l.t.Fatalf("the stream broke off: %v", err)
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return b
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			b.id, l.id = value, value
		case "event":
			b.event = value
		case "data":
			b.data = value
		case "retry":
			b.retry = value
		case "":
			b.comment = value
		default:
			l.t.Fatalf("line %q", line)
		}
	}
}

// next reads the next event.
func (l *listening) next() (e AuditEvent) {
	l.t.Helper()
	b := l.block()
	for b.data == "" && b.comment == "" {
		b = l.block()
	}
	if err := json.Unmarshal([]byte(b.data), &e); err != nil {
		l.t.Fatalf("%+v: %v", b, err)
	}
	if b.event != string(e.Action) || b.id == "" {
		l.t.Errorf("%+v", b)
	}
	return e
}

// ends demands that the stream ends now, and that it says so.
func (l *listening) ends(why endReason) {
	l.t.Helper()
	l.endsWith(l.block(), why)
}

// endsWith is ends where the last block has been read.
func (l *listening) endsWith(b block, why endReason) {
	l.t.Helper()
	if b.comment != string(why) {
		l.t.Errorf("ended with %+v, want %s", b, why)
	}
	if rest, err := io.ReadAll(l.body); err != nil || len(rest) > 0 {
		l.t.Errorf("behind the end: %q, %v", rest, err)
	}
}

func (w *world) tenantEvents(slug string) string { return w.url + "/v1/tenants/" + slug + "/events" }
