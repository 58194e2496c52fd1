package dbtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// LossyProxy lies between a program and its database, and loses what it is told to. It reads
// PostgreSQL's protocol without encryption.
type LossyProxy struct {
	URL string // of the database through the proxy

	network, target string
	lose            atomic.Pointer[loss]

	mu    sync.Mutex
	away  bool
	conns map[net.Conn]struct{}
}

// loss is what a proxy loses once.
type loss struct {
	match func(tag string, wrote bool) bool // of the command that the database has completed
	then  func()                            // before the program's connection breaks; may be nil
}

// NewLossyProxy returns a proxy to the database at a URL, for as long as t runs.
func NewLossyProxy(t testing.TB, databaseURL string) *LossyProxy {
	t.Helper()
	through := listenFor(t, databaseURL)
	listener := through.listener
	p := &LossyProxy{URL: through.url, network: through.network, target: through.address, conns: map[net.Conn]struct{}{}}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			done.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); p.Away(true); done.Wait() })
	return p
}

// LoseCommit loses the answer to the next COMMIT of a transaction that wrote something:
// the database has committed, and the program's connection breaks.
func (p *LossyProxy) LoseCommit() { p.lose.Store(&loss{match: isCommit}) }

// LoseCommitAndLeave is LoseCommit, after which the database is away.
func (p *LossyProxy) LoseCommitAndLeave() {
	p.lose.Store(&loss{match: isCommit, then: func() { p.Away(true) }})
}

func isCommit(tag string, wrote bool) bool { return tag == "COMMIT" && wrote }

// LoseWrite loses the answer to the next statement that writes: its transaction is
// rolled back, and the program's connection breaks.
func (p *LossyProxy) LoseWrite() {
	p.lose.Store(&loss{match: func(tag string, _ bool) bool { return writes(tag) }})
}

// Away breaks every connection and refuses new ones, or lets them through again.
func (p *LossyProxy) Away(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	if away {
		for c := range p.conns {
			c.Close()
		}
	}
}

// keep remembers a connection. It returns false while the database is away.
func (p *LossyProxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return !p.away
}

func (p *LossyProxy) serve(program net.Conn) {
	defer program.Close()
	database, err := net.Dial(p.network, p.target)
	if err != nil {
		return
	}
	defer database.Close()
	if !p.keep(program, database) {
		return
	}
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = io.Copy(database, program)
		database.Close()
	})
	p.forward(program, database)
	program.Close()
	database.Close()
	done.Wait()
}

// forward passes the database's messages on until one is to be lost: a type, and a
// length that includes itself (PostgreSQL, section 55.7).
func (p *LossyProxy) forward(program io.Writer, database io.Reader) {
	wrote := false
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(database, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(database, body); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		tag := ""
		if head[0] == 'C' {
			tag = strings.TrimRight(string(body), "\x00")
			wrote = wrote && tag != "BEGIN" || writes(tag)
		}
		if l := p.lose.Load(); l != nil && l.match(tag, wrote) && p.lose.CompareAndSwap(l, nil) {
			if l.then != nil {
				l.then()
			}
			return
		}
		if _, err := program.Write(append(head, body...)); err != nil {
			return
		}
	}
}

func writes(tag string) bool {
	return strings.HasPrefix(tag, "INSERT") || strings.HasPrefix(tag, "UPDATE") || strings.HasPrefix(tag, "DELETE")
}
