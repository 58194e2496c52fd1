package httpapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
)

// exporting begins an export as a client does that decodes nothing by itself.
func (w *world) exporting(headers ...string) *http.Response {
	w.t.Helper()
	r, _ := http.NewRequestWithContext(w.t.Context(), "GET", w.url+"/v1/tenants/acme/audit", nil)
	r.Header.Set("Authorization", "Bearer "+w.root)
	r.Header.Set("Accept", mimeNDJSON)
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || res.StatusCode != 200 {
		w.t.Fatalf("%v, %v", res, err)
	}
	w.t.Cleanup(func() { res.Body.Close() })
	return res
}

// exportingOverHTTP10 does so over HTTP/1.0 and returns what follows the head.
func (w *world) exportingOverHTTP10() io.Reader {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute)) // for a test that fails
	fmt.Fprintf(conn, "GET /v1/tenants/acme/audit HTTP/1.0\r\nAuthorization: Bearer %s\r\nAccept: %s\r\n\r\n", w.root, mimeNDJSON)
	in := bufio.NewReader(conn)
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if head += line; err != nil {
			w.t.Fatalf("%s, %v", head, err)
		}
	}
	if !strings.Contains(head, " 200 ") || strings.Contains(strings.ToLower(head), "chunked") {
		w.t.Fatal(head)
	}
	return in
}

// becomes waits until something is so.
func (w *world) becomes(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not %s after two minutes", what)
		}
	}
}

// Compressed or not, the client gets what it takes, whole.
func TestExportIsCompressedForThoseWhoTakeIt(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.fill(acme.ID, 700)
	head, err := w.server.cfg.Audit.Head(t.Context(), acme.ID)
	if err != nil {
		t.Fatal(err)
	}
	for accepts, compressed := range map[string]bool{"gzip": true, "br, *;q=0.1": true, "gzip;q=0": false, "identity": false, "br": false} {
		res := w.exporting("Accept-Encoding", accepts)
		if got := res.Header.Get("Content-Encoding"); (got == "gzip") != compressed || !compressed && got != "" {
			t.Errorf("for %q: %v", accepts, res.Header)
			continue
		}
		lines, broken := 0, error(nil)
		var v audit.Verifier
		for scan := bufio.NewScanner(unpacked(t, res, compressed)); scan.Scan(); lines++ {
			e, err := audit.ParseLine(append(scan.Bytes(), '\n'))
			broken = errors.Join(broken, err, v.Add(e))
		}
		if broken != nil || v.Head().Seq != head.Seq || !bytes.Equal(v.Head().Hash, head.Hash) {
			t.Errorf("for %q: %d lines up to %+v of %+v, %v", accepts, lines, v.Head(), head, broken)
		}
	}
	rows, err := csv.NewReader(unpacked(t, w.exporting("Accept", mimeCSV, "Accept-Encoding", "gzip"), true)).ReadAll()
	if err != nil || int64(len(rows)) != head.Seq+1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// unpacked is an export's text, the end of which has been checked.
func unpacked(t *testing.T, res *http.Response, compressed bool) io.Reader {
	t.Helper()
	var in io.Reader = res.Body
	if compressed {
		zip, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		in = zip
	}
	text, err := io.ReadAll(in) // gzip's checksum and length, and the last chunk, are here
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(text)
}

// An export that cannot be finished does not look like one that is.
func TestExportThatFailsBreaksOff(t *testing.T) {
	pg := dbtest.NewServer(t)
	w := newWorldWith(t, pg.DSN(), Streams{})
	w.tenant("acme")
	w.seed("acme", 60_000) // more than what fits between the two
	for name, begin := range map[string]func() io.Reader{
		"as it is":      func() io.Reader { return w.exporting().Body },
		"as CSV":        func() io.Reader { return w.exporting("Accept", mimeCSV).Body },
		"compressed":    func() io.Reader { return w.exporting("Accept-Encoding", "gzip").Body },
		"over HTTP/1.0": w.exportingOverHTTP10,
	} {
		t.Run(name, func(t *testing.T) {
			body := begin()
			pg.Stop()
			defer pg.Start() // also for who reads it when the test is over
			n, err := io.Copy(io.Discard, body)
			if err == nil {
				t.Errorf("the export ended after %d bytes as if it were whole", n)
			}
			w.becomes("without exports", func() bool { return w.server.exports.openSlots() == 0 })
		})
	}
	if strings.Count(w.log.String(), "audit export aborted") != 4 {
		t.Error("nobody is told")
	}
	if n, err := io.Copy(io.Discard, w.exportingOverHTTP10()); err != nil || n < 60_000*300 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A client that leaves in the middle leaves nothing behind: its place and the
// connection to the database are there for others.
func TestExportWhoseClientLeaves(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.seed("acme", 60_000)
	for range 5 {
		res := w.exporting()
		if _, err := io.CopyN(io.Discard, res.Body, 1000); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		w.becomes("without exports", func() bool { return w.server.exports.openSlots() == 0 })
	}
	w.becomes("without transactions", func() bool { inUse, _ := w.db.Stat(); return inUse == 0 })
	if left := scalar[int](w, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"); left != 0 {
		t.Errorf("%d transactions are left open", left)
	}
}

// Without PostgreSQL what was signed before is served, and said to be stale;
// what was not is refused for now, and so are lists and exports.
func TestHistoriesWithoutPostgreSQL(t *testing.T) {
	pg := dbtest.NewServer(t)
	w := newWorldOn(t, pg.DSN())
	w.tenant("acme")
	w.tenant("other")
	const known, unknown = "/t/acme/.well-known/jwks-history", "/t/other/.well-known/jwks-history"
	before := w.do("GET", known, "", "").ok(200)
	w.do("GET", "/t/other/.well-known/jwks.json", "", "").ok(200)
	w.do("GET", "/v1/tenants/acme/audit", w.root, "").ok(200)
	pg.Stop()
	w.clock.pass(time.Minute)
	stale := w.do("GET", known, "", "").ok(200)
	if stale.Header.Get("Keyward-Stale") == "" || !strings.HasPrefix(stale.Header.Get("Warning"), "110 ") || !bytes.Equal(stale.body, before.body) {
		t.Errorf("%v", stale.Header)
	}
	w.do("GET", known, "", "", "If-None-Match", before.Header.Get("ETag")).ok(304)
	for _, a := range []*answer{
		w.do("GET", unknown, "", ""), // its JWKS is known, and its history is not
		w.do("GET", "/v1/tenants/acme/audit", w.root, ""),
		w.do("GET", "/v1/tenants/acme/audit", w.root, "", "Accept", mimeNDJSON),
		w.do("GET", "/v1/tenants/acme/audit", w.root, "", "Accept", mimeCSV),
	} {
		if a.problem(ProblemCodeUnavailable); a.Header.Get("Retry-After") == "" || strings.Contains(a.Header.Get("Cache-Control"), "max-age=") {
			t.Errorf("%v", a.Header)
		}
	}
	if n := w.server.exports.openSlots(); n != 0 {
		t.Errorf("%d exports are counted", n)
	}
	w.clock.pass(48 * time.Hour) // longer than anything is served that nobody vouches for
	w.do("GET", known, "", "").problem(ProblemCodeUnavailable)
	pg.Start()
	w.do("GET", unknown, "", "").ok(200)
	if again := w.do("GET", known, "", "").ok(200); again.Header.Get("Keyward-Stale") != "" || bytes.Equal(again.body, before.body) {
		t.Errorf("%v", again.Header)
	}
}
