package httpapi

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
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

func TestThousandTokens(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	entries := make([]string, maxBatch)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"claims":{"sub":"%d"}}`, i)
	}
	var out SignTokensResult
	w.do("POST", "/v1/tenants/acme/tokens/batch", w.root, `{"tokens":[`+strings.Join(entries, ",")+`]}`).ok(200, &out)
	for _, i := range []int{0, 1, 500, 999} {
		var v VerifyTokenResult
		w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, `{"token":"`+*out.Results[i].Token+`"}`).ok(200, &v)
		if !v.Valid || !strings.Contains(string(*v.Claims), fmt.Sprintf(`"sub":"%d"`, i)) {
			t.Errorf("%d: %s", i, *v.Claims)
		}
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
