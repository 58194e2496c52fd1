package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// BenchmarkJWKS compares a JWK Set from memory with a bare echo handler that
// writes the same bytes, over keep-alive connections. "ratio" is the share of
// the bare handler's throughput: rounds of both alternate and the median
// counts, so that whatever else the machine does decides little.
func BenchmarkJWKS(b *testing.B) {
	w := newWorld(b)
	w.server.cfg.Log = slog.New(slog.DiscardHandler)
	w.tenant("acme")
	body := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200).body
	e := echo.New()
	e.GET("/t/:tenant/.well-known/jwks.json", func(c echo.Context) error { return c.JSONBlob(http.StatusOK, body) })
	bare := httptest.NewServer(e)
	b.Cleanup(bare.Close)

	const clients, round = 4, 1000
	ours, theirs := newClients(b, w.url, clients), newClients(b, bare.URL, clients)
	ours.run(b, round)
	theirs.run(b, round)
	var ratios []float64
	for b.Loop() {
		took, tookBare := ours.run(b, round), theirs.run(b, round)
		ratios = append(ratios, tookBare.Seconds()/took.Seconds())
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

// BenchmarkJWKSHandler is the same without a network: what the handler itself
// costs.
func BenchmarkJWKSHandler(b *testing.B) {
	w := newWorld(b)
	w.server.cfg.Log = slog.New(slog.DiscardHandler)
	w.tenant("acme")
	w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
	r := httptest.NewRequest("GET", "/t/acme/.well-known/jwks.json", nil)
	rw := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(rw.header)
		w.server.ServeHTTP(rw, r)
	}
}

// BenchmarkTokenHandler is what signing a token costs without a network, the
// signature included.
func BenchmarkTokenHandler(b *testing.B) {
	w := newWorld(b)
	w.server.cfg.Log = slog.New(slog.DiscardHandler)
	w.tenant("acme")
	r := httptest.NewRequest("POST", "/v1/tenants/acme/tokens", nil)
	r.Header.Set(echo.HeaderAuthorization, "Bearer "+w.root)
	r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	body := []byte(`{"claims":{"sub":"0f9b6c52-6c0b-4a0e-9d2c-3d1f8f1f6a11","aud":"orders","scope":"orders:read orders:write"}}`)
	r.ContentLength = int64(len(body))
	rw, in := &discard{header: http.Header{}}, bytes.NewReader(body)
	b.ReportAllocs()
	for b.Loop() {
		clear(rw.header)
		in.Reset(body)
		r.Body = io.NopCloser(in)
		w.server.ServeHTTP(rw, r)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// clients are connections that ask for a JWK Set again and again, and read as
// little of the answers as they may, so that the server is what is measured.
type clients []*bufio.ReadWriter

const ask = "GET /t/acme/.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"

func newClients(b *testing.B, at string, n int) clients {
	u, err := url.Parse(at)
	if err != nil {
		b.Fatal(err)
	}
	all := make(clients, n)
	for i := range all {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		all[i] = bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	}
	return all
}

func (all clients) run(b *testing.B, n int) time.Duration {
	start := time.Now()
	var done sync.WaitGroup
	for _, c := range all {
		done.Go(func() {
			if err := get(c, n); err != nil {
				b.Error(err)
			}
		})
	}
	done.Wait()
	return time.Since(start)
}

// get asks n times and skips each answer by its Content-Length.
func get(c *bufio.ReadWriter, n int) error {
	for range n {
		if _, err := c.WriteString(ask); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		length := -1
		for {
			line, err := c.ReadSlice('\n')
			if err != nil {
				return err
			}
			if len(line) <= 2 {
				break
			}
			if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
		}
		if _, err := c.Discard(length); err != nil {
			return err
		}
	}
	return nil
}
