package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyward/keyward/keys/signing"
)

func TestBatchesMayBeLarger(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	batch := func(n int) *answer {
		entry := `{"claims":{"x":"` + strings.Repeat("a", n/100) + `"}}`
		return w.do("POST", "/v1/tenants/acme/tokens/batch", w.root, `{"tokens":[`+strings.Repeat(entry+",", 99)+entry+`]}`)
	}
	var out SignTokensResult
	batch(2<<20).ok(200, &out)
	for i, r := range out.Results {
		if r.Token == nil {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	batch(maxBatchBody).problem(ProblemCodePayloadTooLarge)
}

// Each entry has its own answer, in its place, whether its neighbours are plain,
// wrong or neither.
func TestThousandTokens(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, extra := range []string{``, `,"headers":{"x":1}`, `,"x":"\u0041"`} { // the last makes the body not plain
		entries := make([]string, maxBatch)
		for i := range entries {
			entries[i] = fmt.Sprintf(`{"claims":{"sub":"%d"}}`, i)
			switch i % 10 {
			case 3:
				entries[i] = fmt.Sprintf(`{"claims":{"sub":"%d"}%s}`, i, extra)
			case 7:
				entries[i] = fmt.Sprintf(`{"claims":{"sub":"%d"},"ttl_seconds":-1}`, i)
			}
		}
		var out SignTokensResult
		w.do("POST", "/v1/tenants/acme/tokens/batch", w.root, `{"tokens":[`+strings.Join(entries, ",")+`]}`).ok(200, &out)
		if len(out.Results) != maxBatch {
			t.Fatalf("%d results", len(out.Results))
		}
		for i, r := range out.Results {
			if refused := i%10 == 7 || i%10 == 3 && strings.Contains(extra, `"x":"`); refused != (r.Error != nil) || refused == (r.Token != nil) {
				t.Fatalf("%s: %+v", entries[i], r)
			}
			if r.Token == nil {
				continue
			}
			var claims struct{ Sub string }
			payload, err := base64.RawURLEncoding.DecodeString(strings.Split(*r.Token, ".")[1])
			if err = errors.Join(err, json.Unmarshal(payload, &claims)); err != nil || claims.Sub != strconv.Itoa(i) {
				t.Errorf("%d: %s, %v", i, payload, err)
			}
		}
		for _, i := range []int{0, 1, 500, 999} {
			var v VerifyTokenResult
			w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, `{"token":"`+*out.Results[i].Token+`"}`).ok(200, &v)
			if !v.Valid {
				t.Errorf("%d: %s", i, *v.Claims)
			}
		}
	}
}

// An entry that makes the server panic is the server's fault, and fails alone.
func TestEntryThatPanics(t *testing.T) {
	e := entry{raw: []byte(`{"claims":{}}`)}
	e.decodeAndSign(func(signing.Order) (signing.Token, error) { panic("boom") })
	if p, known := problemOf(e.err); known || p.Status != 500 || e.token != nil {
		t.Errorf("%v, %+v", e.err, p)
	}
}

// A client that leaves in the middle of its body changes nothing and holds
// nobody up.
func TestUnfinishedBody(t *testing.T) {
	w := newWorld(t)
	u, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := w.rows()
	fmt.Fprintf(conn, "POST /v1/tenants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"slug\":\"half\"", w.root)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") && len(got) != 0 {
		t.Errorf("%v %s", err, got)
	}
	if w.rows() != before {
		t.Error("something changed")
	}
}

// slowly serves the API as cmd/keyward does, for clients that take a second at
// most over a request.
func (w *world) slowly() (addr string) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(w.server)
	s.Config.ReadHeaderTimeout, s.Config.ReadTimeout, s.Config.WriteTimeout = time.Second, time.Second, time.Minute
	s.Start()
	w.t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// dribble sends text at once and then a space now and then, until the server has
// had enough. It returns what was answered: maybe nothing.
func dribble(t testing.TB, addr, text string) string {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // for a test that fails
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			if _, err := io.WriteString(conn, " "); err != nil {
				return // whoever listens has gone
			}
		}
	}()
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.60q is waited for without end", text)
	}
	return string(got)
}

// A body that comes drop by drop is given up, by every operation that takes one,
// though what has come is all that it needs: nothing is changed.
func TestWalkSlowBodies(t *testing.T) {
	w := newWorld(t)
	acme := w.inhabited()[0]
	w.tenant("free") // asks nobody for approval
	addr := w.slowly()
	w.inert(func() {
		var all sync.WaitGroup
		n := 0
		for _, e := range w.errands() {
			if e.method == "GET" || e.method == "HEAD" {
				continue
			}
			for _, slug := range []string{"acme", "free"} {
				n++
				p := place{slug, acme.things}
				all.Go(func() {
					e := e.at(p)
					body := e.body(t)
					got := dribble(t, addr, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
						e.method, e.url(), w.root, len(body)+1_000_000, body))
					if got != "" && !strings.HasPrefix(got, "HTTP/1.1 4") {
						t.Errorf("%s: %s", e.OperationID, got)
					}
				})
			}
		}
		all.Wait()
		if n < 40 {
			t.Errorf("%d operations", n)
		}
	})
}

// A head that comes drop by drop holds nobody up either.
func TestSlowHead(t *testing.T) {
	w := newWorld(t)
	w.inert(func() {
		if got := dribble(t, w.slowly(), "DELETE /v1/tenants/platform HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+w.root+"\r\nX-Slow: "); strings.HasPrefix(got, "HTTP/1.1 2") {
			t.Error(got)
		}
	})
}
