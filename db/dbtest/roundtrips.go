package dbtest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// RoundTrips is a proxy to PostgreSQL that counts requests sent after an answer.
type RoundTrips struct {
	DSN   string // leads through the proxy
	count atomic.Int64

	freezeAt atomic.Int64 // the request that is held back; 0: none
	frozen   chan struct{}
	ended    chan struct{}

	onCommit atomic.Pointer[func()]
}

// OnCommit calls do before each COMMIT goes on to PostgreSQL, as a network may hold one
// back. nil ends that.
func (r *RoundTrips) OnCommit(do func()) { r.onCommit.Store(&do) }

// holdCommit calls what OnCommit was given if a request is a COMMIT, which pgx sends by the
// simple protocol.
func (r *RoundTrips) holdCommit(request []byte) {
	if do := r.onCommit.Load(); do != nil && *do != nil && bytes.Contains(request, []byte("commit\x00")) {
		(*do)()
	}
}

// Count returns the number of round trips so far.
func (r *RoundTrips) Count() int64 { return r.count.Load() }

// FreezeAfter holds back, until the test ends, every request after the next n: to
// PostgreSQL the client looks like a process that was stopped. The channel is closed
// when there is a request to hold back.
func (r *RoundTrips) FreezeAfter(n int64) <-chan struct{} {
	r.freezeAt.Store(r.count.Load() + n + 1)
	return r.frozen
}

// hold blocks a request that FreezeAfter has excluded.
func (r *RoundTrips) hold(request int64) {
	at := r.freezeAt.Load()
	if at == 0 || request < at {
		return
	}
	if request == at {
		close(r.frozen)
	}
	<-r.ended
}

// CountRoundTrips starts a proxy in front of a database; it ends with the test.
func CountRoundTrips(t testing.TB, dsn string) *RoundTrips {
	t.Helper()
	ends := listenFor(t, dsn)
	l := ends.listener
	r := &RoundTrips{DSN: ends.url, frozen: make(chan struct{}), ended: make(chan struct{})}
	t.Cleanup(func() { l.Close(); close(r.ended) })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(ends.network, ends.address)
			if err != nil {
				client.Close()
				continue
			}
			go r.forward(client, server)
		}
	}()
	return r
}

func (r *RoundTrips) forward(client, server net.Conn) {
	var (
		answered atomic.Bool
		both     sync.WaitGroup
	)
	answered.Store(true)
	both.Go(func() {
		defer server.Close()
		_ = copyStream(server, client, func(request []byte) {
			if answered.Swap(false) {
				r.hold(r.count.Add(1))
			}
			r.holdCommit(request)
		})
	})
	both.Go(func() {
		defer client.Close()
		_ = copyStream(client, server, func([]byte) { answered.Store(true) })
	})
	both.Wait()
}

func copyStream(to io.Writer, from io.Reader, seen func([]byte)) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return err
		}
		seen(buffer[:n])
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
	}
}
