package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// commitProxy stands between a process and PostgreSQL and understands just
// enough of the protocol (PostgreSQL documentation, "Message Formats") to know
// a COMMIT and its answer. Normally it passes everything on.
type commitProxy struct {
	listener net.Listener
	upstream string

	hold   atomic.Int64           // nanoseconds by which a COMMIT is held back; 0: not
	lose   atomic.Bool            // the answer to a COMMIT is lost, and the connection with it
	onHold atomic.Pointer[func()] // called when a COMMIT begins to be held back

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newCommitProxy(upstream string) (*commitProxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &commitProxy{listener: l, upstream: upstream, conns: map[net.Conn]bool{}}
	go p.accept()
	return p, nil
}

func (p *commitProxy) addr() string { return p.listener.Addr().String() }

func (p *commitProxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *commitProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.join(client)
	}
}

// join is the life of one connection. Whichever side ends first ends both.
func (p *commitProxy) join(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.upstream, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	end := sync.OnceFunc(func() {
		_ = client.Close()
		_ = server.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
		delete(p.conns, server)
	})
	go func() { defer end(); _ = p.requests(client, server) }()
	defer end()
	_ = p.answers(server, client)
}

// requests passes on the client's bytes, and holds a COMMIT back if told to.
func (p *commitProxy) requests(client io.Reader, server io.Writer) error {
	if err := passStartup(client, server); err != nil {
		return err
	}
	prepared := map[string]bool{} // names of prepared statements that are a COMMIT
	return eachMessage(client, func(kind byte, message, body []byte) error {
		if isCommit(kind, body, prepared) {
			if d := time.Duration(p.hold.Load()); d > 0 {
				p.holdBack(d)
			}
		}
		_, err := server.Write(message)
		return err
	})
}

// holdBack waits for as long as it is told, or until nothing is held back any more.
func (p *commitProxy) holdBack(d time.Duration) {
	if call := p.onHold.Load(); call != nil {
		(*call)()
	}
	for end := time.Now().Add(d); time.Now().Before(end) && p.hold.Load() > 0; {
		time.Sleep(20 * time.Millisecond)
	}
}

var errLost = errors.New("the answer to a COMMIT is lost, as ordered")

// answers passes on the server's bytes, up to the answer that gets lost.
func (p *commitProxy) answers(server io.Reader, client io.Writer) error {
	return eachMessage(server, func(kind byte, message, body []byte) error {
		if kind == 'C' && strings.TrimRight(string(body), "\x00") == "COMMIT" && p.lose.Load() {
			return errLost
		}
		_, err := client.Write(message)
		return err
	})
}

// passStartup passes on the first message, which has no type. The database URL
// turns off TLS, so that it is a StartupMessage or a CancelRequest.
func passStartup(client io.Reader, server io.Writer) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(client, head); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head)
	if n < 8 || n > 10_000 {
		return fmt.Errorf("a startup message of %d bytes", n)
	}
	message := append(head, make([]byte, n-4)...)
	if _, err := io.ReadFull(client, message[4:]); err != nil {
		return err
	}
	_, err := server.Write(message)
	return err
}

// eachMessage calls do for every message of a stream: a type, a length that
// counts itself, and a body. message is all of it.
func eachMessage(from io.Reader, do func(kind byte, message, body []byte) error) error {
	from = bufio.NewReaderSize(from, 32<<10)
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[1:])
		if n < 4 || n > 256<<20 {
			return fmt.Errorf("a message of %d bytes", n)
		}
		message := make([]byte, 5+n-4)
		copy(message, head)
		if _, err := io.ReadFull(from, message[5:]); err != nil {
			return err
		}
		if err := do(head[0], message, message[5:]); err != nil {
			return err
		}
	}
}

// isCommit recognises COMMIT as a simple query, in a Parse, and as a Bind of a
// statement that was prepared earlier.
func isCommit(kind byte, body []byte, prepared map[string]bool) bool {
	first, rest, _ := strings.Cut(string(body), "\x00")
	switch kind {
	case 'Q':
		return isCommitText(first)
	case 'P': // name, text
		text, _, _ := strings.Cut(rest, "\x00")
		prepared[first] = isCommitText(text)
		return false // it is bound next
	case 'B': // portal, statement
		statement, _, _ := strings.Cut(rest, "\x00")
		return prepared[statement]
	}
	return false
}

func isCommitText(sql string) bool {
	word := strings.ToLower(strings.Trim(sql, " \t\r\n;"))
	return word == "commit" || word == "end"
}
