package db_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// What waiting may mend is told from what it does not.
func TestMayPass(t *testing.T) {
	good, err := url.Parse(dbtest.NewProxy(t, dbtest.New(t)).DSN()) // TCP, as sockets know no TLS
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, good.String(), "CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 0")
	defer dbtest.Exec(t, good.String(), "DROP ROLE crowded")
	at := func(change func(*url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	query := func(q string) string { return at(func(u *url.URL) { u.RawQuery = q }) }
	const silent = "PostgreSQL does not respond"
	for name, c := range map[string]struct{ url, reason string }{
		"refused":                      {"postgres://u@127.0.0.1:1/x", silent},
		"unknown host":                 {"postgres://u@db.invalid/x", silent},
		"no free connection":           {at(func(u *url.URL) { u.User = url.UserPassword("crowded", "crowded") }), "PostgreSQL has no free connection"},
		"no server that takes writes":  {query(good.RawQuery + "&target_session_attrs=standby"), silent},
		"no such database":             {at(func(u *url.URL) { u.Path = "/none" }), ""},
		"no such login":                {at(func(u *url.URL) { u.User = url.User("nobody_at_all") }), ""},
		"TLS is refused":               {query("sslmode=require"), ""},
		"TLS is refused, name checked": {query("sslmode=verify-full"), ""},
		"certificate of a stranger":    {"postgres://u@" + strangersCertificate(t) + "/x?sslmode=verify-full", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := db.Open(t.Context(), db.Config{URL: c.url})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			err = d.Ping(t.Context())
			if reason, passes := db.MayPass(err); err == nil || passes != (c.reason != "") || passes && reason != c.reason {
				t.Errorf("%q, %v; the error is %v", reason, passes, err)
			}
		})
	}
	for code, want := range map[string]string{
		"57P03": "PostgreSQL is starting or recovering", "25006": "PostgreSQL is read-only", "53100": "PostgreSQL lacks memory or disk space",
		"55P03": "PostgreSQL waited too long for a lock", "57P01": silent,
	} {
		err := fmt.Errorf("%w: %w", db.ErrUnavailable, &pgconn.PgError{Code: code})
		if reason, passes := db.MayPass(err); reason != want || !passes {
			t.Errorf("%s: %q, %v", code, reason, passes)
		}
	}
	if _, passes := db.MayPass(&pgconn.PgError{Code: "28P01"}); passes {
		t.Error("a wrong password passes")
	}
	if _, passes := db.MayPass(fmt.Errorf("%w: %w", db.ErrUnavailable, context.DeadlineExceeded)); !passes {
		t.Error("a timeout does not pass")
	}
}

// strangersCertificate returns the address of a server that secures connections as
// PostgreSQL does, with a certificate that nobody trusts.
func strangersCertificate(t *testing.T) string {
	t.Helper()
	https := httptest.NewTLSServer(nil)
	t.Cleanup(https.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				request := make([]byte, 8) // SSLRequest
				if _, err := io.ReadFull(conn, request); err != nil {
					return
				}
				_, _ = conn.Write([]byte("S"))
				_ = tls.Server(conn, https.TLS).Handshake()
			}()
		}
	}()
	return l.Addr().String()
}
