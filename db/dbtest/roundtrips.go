package dbtest

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// RoundTrips is a proxy to PostgreSQL that counts requests sent after an answer.
type RoundTrips struct {
	DSN   string // leads through the proxy
	count atomic.Int64

	freezeAt atomic.Int64 // the request that is held back; 0: none
	frozen   chan struct{}
	ended    chan struct{}
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
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &RoundTrips{frozen: make(chan struct{}), ended: make(chan struct{})}
	t.Cleanup(func() { l.Close(); close(r.ended) })
	port := l.Addr().(*net.TCPAddr).Port
	r.DSN = fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", url.UserPassword(cfg.User, cfg.Password), port, cfg.Database)
	network, address := pgNetwork(cfg)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			go r.forward(client, server)
		}
	}()
	return r
}

func pgNetwork(cfg *pgx.ConnConfig) (network, address string) {
	if strings.HasPrefix(cfg.Host, "/") {
		return "unix", fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port)
	}
	return "tcp", net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))
}

func (r *RoundTrips) forward(client, server net.Conn) {
	var (
		answered atomic.Bool
		both     sync.WaitGroup
	)
	answered.Store(true)
	both.Go(func() {
		defer server.Close()
		_ = copyStream(server, client, func() {
			if answered.Swap(false) {
				r.hold(r.count.Add(1))
			}
		})
	})
	both.Go(func() {
		defer client.Close()
		_ = copyStream(client, server, func() { answered.Store(true) })
	})
	both.Wait()
}

func copyStream(to io.Writer, from io.Reader, seen func()) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return err
		}
		seen()
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
	}
}
