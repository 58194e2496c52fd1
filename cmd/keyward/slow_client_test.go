package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// The servers' timeouts cut off clients that send heads and bodies slowly; the
// test shortens them.
func TestClientsThatDribble(t *testing.T) {
	url := dbtest.New(t)
	a := opened(t, url)
	_, key, err := a.tenants.CreateAPIKey(t.Context(), audit.By{Actor: a.workerActor()}, tenant.NewAPIKey{Role: tenant.PlatformAdmin, Name: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	servers, err := a.newServers("http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	s := servers[0]
	s.ReadTimeout, s.ReadHeaderTimeout = s.ReadTimeout/30, s.ReadHeaderTimeout/5
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serveGuarded(s, l, 0, a.log) }()
	defer func() { s.Close(); <-ended }()
	for name, c := range map[string]struct{ text, answer string }{
		"body": {fmt.Sprintf("POST /v1/tenants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 90000\r\n\r\n"+
			`{"slug":"slow"}`, key), `^(HTTP/1.1 400 .*)?`},
		"chunks": {fmt.Sprintf("POST /v1/tenants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"+
			"f\r\n"+`{"slug":"slow"}`+"\r\n90000\r\n", key), `^(HTTP/1.1 400 .*)?`},
		"head": {"GET /v1/tenants HTTP/1.1\r\nHost: x\r\nX-Slow: ", `^(HTTP/1.1 4.*)?`},
	} {
		t.Run(name, func(t *testing.T) {
			got := dribble(t, l.Addr().String(), c.text)
			if line, _, _ := strings.Cut(got, "\r\n"); !regexp.MustCompile(c.answer + "$").MatchString(line) {
				t.Errorf("answered %q", line)
			}
		})
	}
	if _, err := a.tenants.Get(t.Context(), "slow"); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("the tenant: %v", err)
	}
}

// dribble sends text at once and then a space periodically, until the server
// closes the connection. It returns the answer, which may be empty.
func dribble(t *testing.T, addr, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // ends a failing test
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			if _, err := io.WriteString(conn, " "); err != nil {
				return // the server has closed the connection
			}
		}
	}()
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.60q is waited for without end", text)
	}
	return string(got)
}
