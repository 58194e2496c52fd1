package dbtest

import (
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
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

// proxyEnds are both ends of a proxy.
type proxyEnds struct {
	listener         net.Listener
	url              string // of the database through the proxy
	network, address string // of the server
}

// listenFor listens on the loopback interface for a proxy to the database at a URL.
func listenFor(t testing.TB, databaseURL string) proxyEnds {
	t.Helper()
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	through := url.URL{
		Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: listener.Addr().String(), Path: "/" + cfg.Database, RawQuery: "sslmode=disable",
	}
	ends := proxyEnds{listener: listener, url: through.String()}
	ends.network, ends.address = networkAddress(cfg)
	return ends
}

func networkAddress(cfg *pgx.ConnConfig) (network, address string) {
	port := strconv.Itoa(int(cfg.Port))
	if strings.HasPrefix(cfg.Host, "/") {
		return "unix", cfg.Host + "/.s.PGSQL." + port
	}
	return "tcp", net.JoinHostPort(cfg.Host, port)
}
