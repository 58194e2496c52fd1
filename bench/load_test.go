package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// traffic is what a load generator asks for. A "%d" in Path becomes the number
// of a tenant.
type traffic struct {
	Addr    string
	Conns   int
	Method  string
	Path    string
	Header  string // lines that end with CRLF
	Body    string
	Tenants int
	Zipf    bool // a few tenants have most of the requests; else all have as many
	Each    bool // by turns: no tenant twice before all others
	Want    int  // status of every answer
}

const loadVariable = "KEYWARD_BENCH_LOAD"

// load is a process of its own that asks a server, so that what it costs is not
// what is measured: it has the other core.
type load struct {
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func newLoad(tb testing.TB, t traffic) *load {
	tb.Helper()
	text, err := json.Marshal(t)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), loadVariable+"="+string(text), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return &load{in, bufio.NewReader(out)}
}

// round asks n times over every connection, and returns how long that took and
// the 99th percentile of how long an answer took.
func (l *load) round(tb testing.TB, n int) (took, p99 time.Duration) {
	tb.Helper()
	fmt.Fprintln(l.stdin, n)
	line, err := l.stdout.ReadString('\n')
	if err != nil {
		tb.Fatal("the load generator has ended: ", err)
	}
	if _, err := fmt.Sscan(line, &took, &p99); err != nil {
		tb.Fatal(line)
	}
	return took, p99
}

// generate is the other process.
func generate(text string) error {
	var t traffic
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	clients := make([]*client, t.Conns)
	for i := range clients {
		conn, err := net.Dial("tcp", t.Addr)
		if err != nil {
			return err
		}
		clients[i] = &client{traffic: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), pick: picker(t, i)}
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		took, p99, err := all(clients, n)
		if err != nil {
			return err
		}
		fmt.Println(int64(took), int64(p99))
	}
	return nil
}

// picker picks tenants for the connection with that number.
func picker(t traffic, conn int) func() uint64 {
	r := rand.New(rand.NewPCG(uint64(conn), 1))
	if t.Tenants < 2 {
		return func() uint64 { return 0 }
	}
	if t.Each {
		own := rand.New(rand.NewPCG(1, 1)).Perm(t.Tenants)[conn*t.Tenants/t.Conns : (conn+1)*t.Tenants/t.Conns]
		next := -1
		return func() uint64 { next++; return uint64(own[next%len(own)]) }
	}
	if t.Zipf {
		return rand.NewZipf(r, 1.1, 1, uint64(t.Tenants-1)).Uint64
	}
	return func() uint64 { return r.Uint64N(uint64(t.Tenants)) }
}

func all(clients []*client, n int) (took, p99 time.Duration, err error) {
	var wg sync.WaitGroup
	errs := make([]error, len(clients))
	began := time.Now()
	for i, c := range clients {
		wg.Go(func() { errs[i] = c.ask(n) })
	}
	wg.Wait()
	took = time.Since(began)
	var waits []time.Duration
	for i, c := range clients {
		if errs[i] != nil {
			return 0, 0, errs[i]
		}
		waits = append(waits, c.waits...)
	}
	return took, percentile(waits, 0.99), nil
}

// client is a connection that reads as little of the answers as it may.
type client struct {
	traffic
	conn  net.Conn
	in    *bufio.Reader
	pick  func() uint64
	out   []byte
	waits []time.Duration
}

func (c *client) ask(n int) error {
	c.waits = c.waits[:0]
	for range n {
		c.out = append(append(c.out[:0], c.Method...), ' ')
		c.out = append(c.out, c.path()...)
		c.out = append(append(c.out, " HTTP/1.1\r\nHost: localhost\r\n"...), c.Header...)
		if c.Body != "" {
			c.out = fmt.Appendf(c.out, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(c.Body))
		}
		c.out = append(append(c.out, "\r\n"...), c.Body...)
		began := time.Now()
		if _, err := c.conn.Write(c.out); err != nil {
			return err
		}
		if err := c.answer(); err != nil {
			return err
		}
		c.waits = append(c.waits, time.Since(began))
	}
	return nil
}

func (c *client) path() string {
	if c.Tenants == 0 {
		return c.Path
	}
	return fmt.Sprintf(c.Path, c.pick())
}

// answer skips one answer by its Content-Length, or its chunks.
func (c *client) answer() error {
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(status) < 12 || string(status[9:12]) != strconv.Itoa(c.Want) {
		return fmt.Errorf("%s %s: %s", c.Method, c.Path, bytes.TrimSpace(status))
	}
	length, chunked := 0, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
		chunked = chunked || bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked"))
	}
	if !chunked {
		_, err := c.in.Discard(length)
		return err
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if _, err := c.in.Discard(int(size) + 2); err != nil || size == 0 {
			return err
		}
	}
}
