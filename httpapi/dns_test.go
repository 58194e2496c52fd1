package httpapi

import (
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a DNS server on this machine that knows TXT records.
type nameServer struct {
	address string

	mu      sync.Mutex
	records map[string][]string // by fully qualified name in lower case
	refuses bool                // every question, with SERVFAIL
}

// serveNames starts the name server of a world.
func (w *world) serveNames() *nameServer {
	w.t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	n := &nameServer{address: conn.LocalAddr().String(), records: map[string][]string{}}
	var done sync.WaitGroup
	done.Go(func() { n.serve(w.t, conn) })
	w.t.Cleanup(func() { conn.Close(); done.Wait() })
	w.dns = n
	return n
}

func (n *nameServer) set(name string, records ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[strings.ToLower(name)+"."] = records
}

func (n *nameServer) fail(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuses = yes
}

func (n *nameServer) serve(t testing.TB, conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:size]); err != nil || len(m.Questions) != 1 {
			t.Errorf("a question that is none: %v", err)
			continue
		}
		answer, err := n.answer(m).Pack()
		if err != nil {
			t.Error(err)
			continue
		}
		_, _ = conn.WriteTo(answer, from)
	}
}

func (n *nameServer) answer(m dnsmessage.Message) *dnsmessage.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	records := n.records[strings.ToLower(q.Name.String())]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	switch {
	case n.refuses:
		m.RCode = dnsmessage.RCodeServerFailure
	case records == nil:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range records {
		if q.Type == dnsmessage.TypeTXT && m.RCode == dnsmessage.RCodeSuccess {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.TXTResource{TXT: []string{text}},
			})
		}
	}
	return &m
}
