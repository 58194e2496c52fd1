//go:build unix

package dbtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy forwards TCP connections to a server, until it is told not to.
type Proxy struct {
	t        testing.TB
	dsn      string
	network  string // of the server
	address  string
	listener net.Listener

	mu      sync.Mutex
	stalled bool
	links   []*link
}

// link is a connection of a client and the one to the server.
type link struct {
	mu             sync.Mutex
	dead           bool // nothing is forwarded any more
	client, server net.Conn
}

// NewProxy starts a proxy on the loopback interface for the database of a DSN, which must
// not use TLS. It ends with the test.
func NewProxy(t testing.TB, dsn string) *Proxy {
	t.Helper()
	ends := listenFor(t, dsn)
	listener := ends.listener
	p := &Proxy{t: t, listener: listener, network: ends.network, address: ends.address, dsn: ends.url}
	go p.serve()
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, l := range p.links {
			l.client.Close()
			l.server.Close()
		}
	})
	return p
}

// DSN is the URL of the database through the proxy.
func (p *Proxy) DSN() string { return p.dsn }

// Stall makes the connections half-open, as a network does that has been parted: they stay
// established, what is sent is acknowledged, and nothing arrives. New connections are the
// same, until resume; those from before resume stay as they are.
func (p *Proxy) Stall() (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = true
	for _, l := range p.links {
		l.mu.Lock()
		l.dead = true
		l.mu.Unlock()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stalled = false
	}
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(p.network, p.address)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		l := &link{client: client, server: server, dead: p.stalled}
		p.links = append(p.links, l)
		p.mu.Unlock()
		go l.forward(server, client)
		go l.forward(client, server)
	}
}

// forward copies all bytes that it reads, and drops them once the link is dead.
func (l *link) forward(to io.WriteCloser, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		dead := l.dead
		l.mu.Unlock()
		if !dead && n > 0 {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				err = failed
			}
		}
		if err != nil {
			if !dead {
				to.Close()
			}
			return
		}
	}
}
