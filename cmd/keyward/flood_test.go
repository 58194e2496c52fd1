package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/keyward/keyward/db/dbtest"
)

// frontDoor is the program's public HTTP server, with its own limits, behind
// connections that have no buffers: what it has read and when it has closed them is
// known exactly.
type frontDoor struct {
	t     *testing.T
	conns chan net.Conn
	shut  chan struct{}

	mu      sync.Mutex
	reasons map[string]int // why it gave up streams and connections of HTTP/2
}

// Accept implements net.Listener.
func (f *frontDoor) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.shut:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (f *frontDoor) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// Close implements net.Listener.
func (f *frontDoor) Close() error { close(f.shut); return nil }

// serverEnd is the server's end of a connection.
type serverEnd struct {
	net.Conn
	read  atomic.Int64
	once  sync.Once
	ended chan struct{} // closed by Close
}

// Read implements net.Conn.
func (e *serverEnd) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	e.read.Add(int64(n))
	return n, err
}

// Close implements net.Conn.
func (e *serverEnd) Close() error {
	e.once.Do(func() { close(e.ended) })
	return e.Conn.Close()
}

// isClosed fails the test if the server does not close the connection.
func (e *serverEnd) isClosed(t *testing.T, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-e.ended:
	case <-ctx.Done():
		t.Errorf("%s: the server keeps the connection", what)
	}
}

// dial opens a connection. The client's end fails after a while, which ends a failing test.
func (f *frontDoor) dial() (net.Conn, *serverEnd) {
	ours, theirs := net.Pipe()
	f.t.Cleanup(func() { ours.Close() })
	_ = ours.SetDeadline(time.Now().Add(patience))
	e := &serverEnd{Conn: theirs, ended: make(chan struct{})}
	f.conns <- e
	return ours, e
}

// gaveUp returns how often the server gave something up for a reason.
func (f *frontDoor) gaveUp(reason string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reasons[reason]
}

// openFrontDoor starts the server with a certificate, or without one. change shortens
// its timeouts or wraps its handler.
func openFrontDoor(t *testing.T, secure bool, change func(s *http.Server)) *frontDoor {
	t.Helper()
	a := opened(t, dbtest.New(t))
	if secure {
		dir := t.TempDir()
		a.cfg.tlsCert, a.cfg.tlsKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		newAuthority(t).pair(a.cfg.tlsCert, a.cfg.tlsKey)
	}
	servers, err := a.newServers("https://localhost")
	if err != nil {
		t.Fatal(err)
	}
	f := &frontDoor{t: t, conns: make(chan net.Conn), shut: make(chan struct{}), reasons: map[string]int{}}
	s := servers[0]
	s.HTTP2.CountError = func(reason string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.reasons[reason]++
	}
	change(s)
	served := make(chan error, 1)
	go func() { served <- serveGuarded(s, f, a.cfg.maxConnections, a.log) }()
	t.Cleanup(func() { s.Close(); <-served })
	return f
}

// http2Client speaks HTTP/2 frame by frame.
type http2Client struct {
	*http2.Framer
	net.Conn
	out  *bufio.Writer
	head bytes.Buffer
	enc  *hpack.Encoder
	gone chan http2.ErrCode // of the GOAWAY frame, if there was one
}

// http2 opens a connection and sends the preface. The client reads only when told to.
func (f *frontDoor) http2(settings ...http2.Setting) (*http2Client, *serverEnd) {
	f.t.Helper()
	conn, e := f.dial()
	secure := tls.Client(conn, &tls.Config{NextProtos: []string{"h2"}, InsecureSkipVerify: true})
	if err := secure.Handshake(); err != nil {
		f.t.Fatal(err)
	}
	c := &http2Client{Conn: secure, out: bufio.NewWriter(secure), gone: make(chan http2.ErrCode, 1)}
	c.Framer, c.enc = http2.NewFramer(c.out, secure), hpack.NewEncoder(&c.head)
	_, _ = c.out.WriteString(http2.ClientPreface)
	_ = c.WriteSettings(settings...)
	if err := c.out.Flush(); err != nil {
		f.t.Fatal(err)
	}
	return c, e
}

// request encodes the head of a request, with more headers by turns.
func (c *http2Client) request(method, path string, more ...string) []byte {
	c.head.Reset()
	for _, h := range append([][2]string{{":method", method}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}}, pairs(more)...) {
		_ = c.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	return bytes.Clone(c.head.Bytes())
}

func pairs(list []string) (all [][2]string) {
	for i := 0; i+1 < len(list); i += 2 {
		all = append(all, [2]string{list[i], list[i+1]})
	}
	return all
}

// listen reads frames until the connection ends, and passes them to heard.
func (c *http2Client) listen(heard func(http2.Frame)) {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return
		}
		if g, is := f.(*http2.GoAwayFrame); is {
			select {
			case c.gone <- g.ErrCode:
			default:
			}
		}
		heard(f)
	}
}

// until sends with send until the server has closed the connection, and returns how
// often that was.
func (c *http2Client) until(t *testing.T, most int, send func(n int) error) (sent int) {
	t.Helper()
	for ; sent < most; sent++ {
		if err := send(sent); err != nil || c.out.Flush() != nil {
			return sent
		}
	}
	t.Errorf("the server has taken %d and wants more", sent)
	return sent
}

// A client that opens streams and resets them at once makes no more than 250 requests
// run at a time, and loses the connection when 1,000 more wait (CVE-2023-44487). What it
// sends until then is read and thrown away.
func TestHTTP2RapidReset(t *testing.T) {
	var began, running, most atomic.Int64
	stop := make(chan struct{})
	f := openFrontDoor(t, true, func(s *http.Server) {
		api := s.Handler
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began.Add(1)
			now := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			<-stop // as a database that hangs
			api.ServeHTTP(w, r)
		})
	})
	defer close(stop)
	c, e := f.http2()
	go c.listen(func(http2.Frame) {})
	head := c.request("GET", "/.well-known/jwks.json")
	sent := c.until(t, 10_000_000, func(n int) error {
		id := uint32(2*n + 1)
		return errors.Join(c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: true, EndStream: true}),
			c.WriteRSTStream(id, http2.ErrCodeCancel))
	})
	e.isClosed(t, "rapid reset")
	if began.Load() > 250 || most.Load() > 250 || sent <= 1000 || f.gaveUp("conn_ENHANCE_YOUR_CALM_too_many_early_resets") != 1 {
		t.Errorf("%d streams were opened, %d requests began, %d ran at once: %v", sent, began.Load(), most.Load(), f.reasons)
	}
}

// A head that never ends, of CONTINUATION frames or of one header after another, is read
// for a bounded number of bytes (CVE-2023-45288).
func TestHTTP2EndlessHeads(t *testing.T) {
	f := openFrontDoor(t, true, func(*http.Server) {})
	for name, fragment := range map[string]func(c *http2Client) []byte{
		"large": func(c *http2Client) []byte { return c.request("GET", "/", "x", strings.Repeat("y", 8000)) },
		"small": func(c *http2Client) []byte { return c.request("GET", "/", "x", "y")[4:] },
	} {
		t.Run(name, func(t *testing.T) {
			c, e := f.http2()
			go c.listen(func(http2.Frame) {})
			if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("GET", "/"), EndStream: true}); err != nil {
				t.Fatal(err)
			}
			sent := c.until(t, 1_000_000, func(int) error { return c.WriteContinuation(1, false, fragment(c)) })
			e.isClosed(t, name)
			if read := e.read.Load(); read > 1<<20 {
				t.Errorf("%d bytes of %d frames were read", read, sent)
			}
		})
	}
}

// A head that is too large is refused before it reaches a handler, one that is much too large
// is not even read to its end, and the limit is announced.
func TestHTTP2LargeHead(t *testing.T) {
	var handled atomic.Int64
	f := openFrontDoor(t, true, func(s *http.Server) {
		api := s.Handler
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handled.Add(1); api.ServeHTTP(w, r) })
	})
	limits := map[http2.SettingID]uint32{}
	ask := func(size int, name func(left int) string) (status string, e *serverEnd) {
		c, e := f.http2()
		heard := make(chan string, 1)
		go func() {
			dec, status := hpack.NewDecoder(4096, nil), "closed"
			c.listen(func(fr http2.Frame) {
				switch fr := fr.(type) {
				case *http2.SettingsFrame:
					_ = fr.ForeachSetting(func(s http2.Setting) error { limits[s.ID] = s.Val; return nil })
				case *http2.HeadersFrame:
					fields, _ := dec.DecodeFull(fr.HeaderBlockFragment())
					status = fields[0].Value
					c.Close()
				}
			})
			heard <- status
		}()
		const most = 16 << 10
		var more []string
		for left := size; left > 0; left -= 1000 {
			more = append(more, name(left), strings.Repeat("y", min(left, 1000)))
		}
		head := c.request("GET", "/.well-known/jwks.json", more...)
		_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head[:min(most, len(head))], EndStream: true, EndHeaders: len(head) <= most})
		for rest := head[min(most, len(head)):]; len(rest) > 0; {
			part := rest[:min(most, len(rest))]
			rest = rest[len(part):]
			_ = c.WriteContinuation(1, len(rest) == 0, part)
		}
		_ = c.out.Flush()
		return <-heard, e
	}
	for size, want := range map[int]string{100: "200", 50 << 10: "200", 68 << 10: "431", 1 << 20: "closed"} {
		before := handled.Load()
		status, e := ask(size, func(left int) string { return fmt.Sprint("x", left) })
		if e.isClosed(t, want); want == "200" {
			if handled.Load() != before+1 {
				t.Errorf("%d bytes: %s, not handled", size, status)
			}
		} else if status != want || handled.Load() != before || e.read.Load() > 128<<10 {
			t.Errorf("%d bytes: %s, handled %t, %d bytes read", size, status, handled.Load() != before, e.read.Load())
		}
	}
	// What is small because it refers to the table of headers counts with its full size.
	if status, e := ask(1<<20, func(int) string { return "x" }); status != "431" || handled.Load() != 2 || e.read.Load() > 16<<10 {
		t.Errorf("repeated headers: %s, %d bytes read", status, e.read.Load())
	}
	if got := limits[http2.SettingMaxHeaderListSize]; got < 64<<10 || got > 66<<10 || limits[http2.SettingMaxConcurrentStreams] != 250 {
		t.Errorf("%v", limits)
	}
}

// A client that asks for answers and reads none loses the connection when 10,000 wait.
func TestHTTP2ControlFrames(t *testing.T) {
	f := openFrontDoor(t, true, func(*http.Server) {})
	for name, send := range map[string]func(c *http2Client, n int) error{
		"PING": func(c *http2Client, n int) error {
			var data [8]byte
			binary.BigEndian.PutUint64(data[:], uint64(n))
			return c.WritePing(false, data)
		},
		"RST_STREAM": func(c *http2Client, n int) error { // of streams that are refused
			id := uint32(2*n + 1)
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.request("GET", "/", "Bad", ""), EndHeaders: true, EndStream: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, e := f.http2()
			sent := c.until(t, 100_000, func(n int) error { return send(c, n) })
			e.isClosed(t, name)
			if read := e.read.Load(); read > 4<<20 || sent > 25_000 {
				t.Errorf("%d frames were taken, %d bytes read", sent, read)
			}
		})
	}
}

// Who begins something and does not go on, over TLS or HTTP/2, is cut off by one of the
// server's timeouts, which the test shortens.
func TestHTTP2ClientsThatStop(t *testing.T) {
	f := openFrontDoor(t, true, func(s *http.Server) {
		s.ReadTimeout, s.ReadHeaderTimeout, s.WriteTimeout, s.IdleTimeout = s.ReadTimeout/30, s.ReadHeaderTimeout/5, s.WriteTimeout/60, s.IdleTimeout/60
		s.HTTP2.WriteByteTimeout /= 30
	})
	post := func(c *http2Client, id uint32) error {
		head := c.request("POST", "/v1/tenants", "authorization", "Bearer x", "content-type", "application/json")
		return errors.Join(c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: true}), c.out.Flush())
	}
	get := func(c *http2Client, id uint32, path string) error {
		return errors.Join(c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.request("GET", path), EndHeaders: true, EndStream: true}), c.out.Flush())
	}
	for name, begin := range map[string]func(t *testing.T) *serverEnd{
		"nothing": func(*testing.T) *serverEnd { _, e := f.dial(); return e },
		"half a handshake": func(t *testing.T) *serverEnd {
			conn, e := f.dial()
			if _, err := conn.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1}); err != nil {
				t.Fatal(err)
			}
			return e
		},
		"half a preface": func(t *testing.T) *serverEnd {
			conn, e := f.dial()
			secure := tls.Client(conn, &tls.Config{NextProtos: []string{"h2"}, InsecureSkipVerify: true})
			go io.Copy(io.Discard, secure)
			if _, err := secure.Write([]byte(http2.ClientPreface[:12])); err != nil {
				t.Fatal(err)
			}
			return e
		},
		"half a frame": func(t *testing.T) *serverEnd {
			c, e := f.http2()
			go c.listen(func(http2.Frame) {})
			if _, err := c.Write([]byte{0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82}); err != nil {
				t.Fatal(err)
			}
			return e
		},
		"half a head": func(t *testing.T) *serverEnd {
			c, e := f.http2()
			go c.listen(func(http2.Frame) {})
			err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("GET", "/"), EndStream: true})
			if err = errors.Join(err, c.out.Flush()); err != nil {
				t.Fatal(err)
			}
			return e
		},
		"frames of a head without content": func(t *testing.T) *serverEnd {
			c, e := f.http2()
			go c.listen(func(http2.Frame) {})
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("GET", "/"), EndStream: true})
			c.until(t, 100_000_000, func(int) error { return c.WriteContinuation(1, false, nil) })
			return e
		},
		"settings without end": func(t *testing.T) *serverEnd {
			c, e := f.http2()
			go c.listen(func(http2.Frame) {})
			c.until(t, 100_000_000, func(int) error { return c.WriteSettings() })
			return e
		},
		"no body": func(t *testing.T) *serverEnd {
			c, e := f.http2()
			go c.listen(func(http2.Frame) {})
			if err := post(c, 1); err != nil {
				t.Fatal(err)
			}
			return e
		},
		"a window that stays shut": func(t *testing.T) *serverEnd {
			c, e := f.http2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			go c.listen(func(http2.Frame) {})
			if err := get(c, 1, "/openapi.yaml"); err != nil {
				t.Fatal(err)
			}
			return e
		},
		"reads nothing": func(t *testing.T) *serverEnd {
			c, e := f.http2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			_ = c.WriteWindowUpdate(0, 1<<30)
			for id := uint32(1); id < 40; id += 2 {
				if get(c, id, "/openapi.yaml") != nil {
					break // it takes no more: its writer waits
				}
			}
			return e
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin(t).isClosed(t, name)
		})
	}
}

// A request line without end is answered 431 after the bytes that a head may have.
func TestEndlessRequestLine(t *testing.T) {
	f := openFrontDoor(t, false, func(*http.Server) {})
	for name, begin := range map[string]string{"path": "GET /", "query": "GET /.well-known/jwks.json?", "method": "", "header": "GET / HTTP/1.1\r\nHost: x\r\nx: "} {
		conn, e := f.dial()
		go func() {
			_, err := io.WriteString(conn, begin)
			for chunk := strings.Repeat("a", 4096); err == nil; {
				_, err = io.WriteString(conn, chunk)
			}
		}()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge || e.read.Load() > 80<<10 {
			t.Errorf("%s: %d after %d bytes", name, res.StatusCode, e.read.Load())
		}
		e.isClosed(t, name)
	}
}

// Thousands of connections that say nothing are closed, cost one goroutine each, and keep
// nobody else from an answer.
func TestManySilentConnections(t *testing.T) {
	const connections = 2000
	f := openFrontDoor(t, false, func(s *http.Server) { s.ReadHeaderTimeout = 3 * time.Second })
	before := runtime.NumGoroutine()
	ends := make([]*serverEnd, connections)
	for i := range ends {
		_, ends[i] = f.dial()
	}
	if n := runtime.NumGoroutine() - before; n > 2*connections {
		t.Errorf("%d goroutines for %d connections", n, connections)
	}
	conn, _ := f.dial()
	if _, err := fmt.Fprint(conn, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode >= 500 && res.StatusCode != 503 {
		t.Errorf("%v %v", res, err)
	}
	for _, e := range ends {
		e.isClosed(t, "silence")
	}
}

// Beyond the bound of connections those without a request make room for new ones: who
// opens connections and says nothing, or keeps them idle, shuts nobody out.
func TestMoreConnectionsThanAllowed(t *testing.T) {
	const most = 20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	held, entered := make(chan struct{}), make(chan struct{}, most)
	s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-held
		}
	}), log)
	ended := make(chan error, 1)
	guarded := guardConns(s, l, most, log)
	go func() { ended <- s.Serve(guarded) }()
	ask := func(path string) (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		if path != "" {
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		}
		return conn, bufio.NewReader(conn)
	}
	answered := func(in *bufio.Reader) bool {
		res, err := http.ReadResponse(in, nil)
		return err == nil && res.StatusCode == 200
	}
	slow := make([]*bufio.Reader, most/2)
	for i := range slow {
		_, slow[i] = ask("/slow")
		<-entered
	}
	first, _ := ask("") // silent
	_, idle := ask("/")
	if !answered(idle) {
		t.Fatal("no answer below the bound")
	}
	for range 3 * most { // keep-alive connections that nobody closes
		if _, in := ask("/"); !answered(in) {
			t.Fatal("idle connections shut a new one out")
		}
	}
	for name, in := range map[string]io.Reader{"the silent one": first, "the idle one": idle} {
		if _, err := in.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is not closed: %v", name, err)
		}
	}
	for range most / 2 {
		_, in := ask("/slow")
		slow = append(slow, in)
		<-entered
	}
	if conn, _ := ask("/"); true { // every place has a request
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one beyond the bound is not closed: %v", err)
		}
	}
	close(held)
	for i, in := range slow {
		if !answered(in) {
			t.Errorf("request %d was cut off", i)
		}
	}
	if _, in := ask("/"); !answered(in) {
		t.Error("no answer after the flood")
	}
	s.Close()
	<-ended
	if n := strings.Count(logged.String(), "KEYWARD_MAX_CONNECTIONS"); n != 1 {
		t.Errorf("%d log lines: %s", n, &logged)
	}
}

// A connection that sends frames which belong to no request is closed long before it is
// idle for 120 s.
func TestFramesOutsideOfRequests(t *testing.T) {
	f := openFrontDoor(t, true, func(*http.Server) {})
	for name, send := range map[string]func(*http2Client) error{
		"settings": func(c *http2Client) error { return c.WriteSettings() },
		"pings":    func(c *http2Client) error { return c.WritePing(true, [8]byte{}) },
		"empty parts of a head": func(c *http2Client) error {
			return c.WriteContinuation(1, false, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, e := f.http2()
			go c.listen(func(http2.Frame) {})
			if strings.Contains(name, "head") {
				_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("GET", "/"), EndStream: true})
			}
			c.until(t, maxIdleBytes, func(int) error { return send(c) })
			e.isClosed(t, name)
			if n := e.read.Load(); n > maxIdleBytes+(128<<10) {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}
