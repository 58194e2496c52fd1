package httpapi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
)

// pipes are connections without buffers: who does not read stops who writes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
func (p pipes) Close() error   { close(p.closed); return nil }

// pipe opens a stream on a connection without buffers, and returns it after
// its first block. gone is closed when the server has given it up.
func (w *world) pipe(path string) (l *listening, gone <-chan struct{}) {
	w.t.Helper()
	p, closed := pipes{make(chan net.Conn, 1), make(chan struct{})}, make(chan struct{})
	s := &http.Server{Handler: w.server, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}}
	go s.Serve(p)
	ours, theirs := net.Pipe()
	w.t.Cleanup(func() { ours.Close(); s.Close() })
	_ = ours.SetDeadline(time.Now().Add(time.Minute)) // for a test that fails
	p.conns <- theirs
	_, err := io.WriteString(ours, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+w.root+"\r\n\r\n")
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(ours, 16), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	l = &listening{t: w.t, res: res, body: bufio.NewReaderSize(res.Body, 16)}
	l.block()
	return l, closed
}

// fill appends so many events to a tenant.
func (w *world) fill(id uuid.UUID, n int) {
	w.t.Helper()
	events := make([]audit.Event, n)
	for i := range events {
		events[i] = operator.Event(w.clock.now(), audit.AuthorizationDenied)
		events[i].Reason = strings.Repeat("x", 400)
	}
	if err := w.server.cfg.Audit.Append(w.t.Context(), id, events...); err != nil {
		w.t.Fatal(err)
	}
}

// Who reads nothing loses the connection, and finds everything when it is back.
func TestReaderThatStandsStill(t *testing.T) {
	w := newWorldWith(t, dbtest.New(t), Streams{Patience: 50 * time.Millisecond})
	acme := w.tenant("acme")
	l, gone := w.pipe("/v1/tenants/acme/events")
	w.fill(acme.ID, 300)
	<-gone
	if n := w.server.streams.openSlots(); n != 0 {
		t.Errorf("%d seats are taken", n)
	}
	again := w.listenTo(w.tenantEvents("acme"), w.root, l.id)
	for n, last := 0, int64(0); n < 300; n++ {
		e := again.next()
		if last != 0 && e.Seq != last+1 {
			t.Fatalf("%d after %d", e.Seq, last)
		}
		last = e.Seq
	}
}

// Who reads, but takes for ever, is told to come back.
func TestReaderThatIsTooSlow(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	l, gone := w.pipe("/v1/tenants/acme/events")
	w.fill(acme.ID, 300)
	first := l.next() // the page is being written, and does not fit anywhere
	w.clock.pass(time.Minute)
	n := int64(0)
	for b := l.block(); b.comment != string(tooSlow); b = l.block() {
		n++
	}
	if rest, err := io.ReadAll(l.body); err != nil || len(rest) > 0 {
		t.Errorf("behind the end: %q, %v", rest, err)
	}
	<-gone
	if n == 0 || n >= 99 {
		t.Errorf("%d more events", n)
	}
	if e := w.listenTo(w.tenantEvents("acme"), w.root, l.id).next(); e.Seq != first.Seq+n+1 {
		t.Errorf("it went on with %d behind %d", e.Seq, first.Seq+n)
	}
}
