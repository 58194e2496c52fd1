package httpapi

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// Every line of an export is the event as the list has it, and the chain can
// be recomputed from them.
func TestExportAsLines(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"compromised","comment":"line\nbreak <b> ☃"}`).ok(200)
	w.fill(acme.ID, 700)
	a := w.do("GET", "/v1/tenants/acme/audit", w.key(tenant.TenantAuditor, &acme.ID), "", "Accept", mimeNDJSON).ok(200)
	if a.Header.Get("Content-Type") != mimeNDJSON || a.Header.Get("Vary") != "Accept, Accept-Encoding" {
		t.Errorf("%v", a.Header)
	}
	var v audit.Verifier
	lines := bytes.SplitAfter(a.body, []byte("\n"))
	for _, l := range lines[:len(lines)-1] {
		e, err := audit.ParseLine(l)
		if err = errors.Join(err, v.Add(e)); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
	}
	head, err := w.server.cfg.Audit.Head(t.Context(), acme.ID)
	if err != nil || v.Head().Seq != head.Seq || !bytes.Equal(v.Head().Hash, head.Hash) {
		t.Errorf("the lines end at %+v, the chain at %+v, %v", v.Head(), head, err)
	}
	var list AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?order=asc&limit=500", w.root, "").ok(200, &list)
	for i, want := range list.Items {
		var got AuditEvent
		if err := json.Unmarshal(lines[i], &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("line %s, %v\nlist %+v", lines[i], err, want)
		}
	}
}

func TestExportAsRows(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("other")
	a := w.do("GET", "/v1/audit?state=active", w.root, "", "Accept", mimeCSV).ok(200)
	rows, err := csv.NewReader(bytes.NewReader(a.body)).ReadAll()
	if err != nil || !reflect.DeepEqual(rows[0], audit.CSVColumns) || len(rows) != 4 { // acme, other and the platform
		t.Fatalf("%v, %v", rows, err)
	}
	for _, row := range rows[1:] {
		if row[4] != "key.activated" || row[10] != "active" || !strings.HasPrefix(row[13], "{") {
			t.Errorf("%v", row)
		}
	}
	if !strings.Contains(string(a.body), "\r\n") || !strings.HasPrefix(a.Header.Get("Content-Type"), mimeCSV) {
		t.Errorf("%v", a.Header)
	}
	none := w.do("GET", "/v1/tenants/acme/audit?kid=none", w.root, "", "Accept", mimeNDJSON).ok(200)
	if len(none.body) != 0 || none.Header.Get("Content-Type") != mimeNDJSON {
		t.Errorf("%q %v", none.body, none.Header)
	}
}

func TestExportGoesOnBehindAPage(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	var page, all AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?limit=2", w.root, "").ok(200, &page)
	w.do("GET", "/v1/tenants/acme/audit", w.root, "").ok(200, &all)
	a := w.do("GET", "/v1/tenants/acme/audit?limit=2&cursor="+*page.NextCursor, w.root, "", "Accept", mimeNDJSON).ok(200)
	for i, l := range strings.Split(strings.TrimSpace(string(a.body)), "\n") {
		if e, err := audit.ParseLine([]byte(l)); err != nil || i > 1 || e.Seq != all.Items[2+i].Seq {
			t.Errorf("%s, %v", l, err)
		}
	}
	w.do("GET", "/v1/tenants/acme/audit?order=asc&cursor="+*page.NextCursor, w.root, "", "Accept", mimeNDJSON).problem(ProblemCodeInvalidRequest)
	w.do("GET", "/v1/tenants/acme/audit", w.root, "", "Accept", "image/png").problem(ProblemCodeNotAcceptable)
	w.do("GET", "/v1/tenants/acme/audit?state=gone", w.root, "").problem(ProblemCodeInvalidRequest)
}

// There is room for so many exports, and who comes too late is told.
func TestExportsAreCounted(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	key := w.key(tenant.TenantAuditor, &acme.ID)
	for range exportsAtOnce / 10 {
		leave, err := w.server.exports.takeSlot(&acme.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	w.do("GET", "/v1/tenants/acme/audit", key, "", "Accept", mimeNDJSON).problem(ProblemCodeRateLimited)
	w.do("GET", "/v1/tenants/acme/audit", w.root, "", "Accept", mimeNDJSON).ok(200)
	w.do("GET", "/v1/tenants/acme/audit", key, "").ok(200)
}

// seed gives a tenant so many events behind those it has, which hash to
// nothing.
func (w *world) seed(slug string, n int) {
	w.t.Helper()
	noise := strings.Repeat("encode(sha256(gen_random_uuid()::text::bytea), 'base64') || ", 7) + "''" // which nothing compresses away
	dbtest.Exec(w.t, w.dsn, fmt.Sprintf(`SET session_replication_role = replica;
		INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, reason, details, prev_hash, hash)
		SELECT t.id, t.audit_seq + i, now(), 'authorization.denied', 'operator', 'x', 'x', `+noise+`, '{}', sha256('0'), sha256('1')
		FROM tenants t, generate_series(1, %d) i WHERE t.slug = '%s';
		UPDATE tenants SET audit_seq = audit_seq + %[1]d WHERE slug = '%[2]s'`, n, slug))
}

// However much is exported, little is in memory.
func TestExportInConstantMemory(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 20_000
	}
	w := newWorld(t)
	w.tenant("acme")
	w.seed("acme", n)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", w.url+"/v1/tenants/acme/audit", nil)
	r.Header.Set("Authorization", "Bearer "+w.root)
	r.Header.Set("Accept", mimeNDJSON)
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines, most, read := 0, uint64(0), int64(0)
	for scan := bufio.NewScanner(res.Body); scan.Scan(); lines++ {
		if read += int64(len(scan.Bytes())); lines%(n/10) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&during)
			most = max(most, during.HeapAlloc)
		}
	}
	if lines < n {
		t.Fatalf("%d lines of %d", lines, n)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 24<<20 || !testing.Short() && read < 3*24<<20 {
		t.Errorf("%d bytes in memory for %d bytes of export", grown, read)
	}
}

func TestCheckpointAndReservedTypes(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	var c AuditCheckpoint
	w.do("GET", "/v1/tenants/acme/audit/checkpoint", w.key(tenant.TenantAuditor, &acme.ID), "").ok(200, &c)
	set := w.do("GET", "/.well-known/jwks.json", "", "").ok(200).body
	said, err := signing.VerifyCheckpoint(c.Checkpoint, set)
	if err != nil || said.TenantID != acme.ID || said.Tenant != "acme" {
		t.Fatalf("%+v, %v", said, err)
	}
	for path, body := range map[string]string{"tokens": `{"claims":{},"typ":"%s"}`, "sign": `{"payload":"e30","typ":"%s"}`} {
		for _, typ := range []string{signing.CheckpointType, "Application/KEYWARD-webhook+jwt", "jwk-set+jwt"} {
			for _, ref := range []string{"platform", "acme"} {
				p := w.do("POST", "/v1/tenants/"+ref+"/"+path, w.root, fmt.Sprintf(body, typ)).problem(ProblemCodeInvalidRequest)
				if len(p.Errors) != 1 || p.Errors[0].Field != "typ" {
					t.Errorf("%s of typ %s: %+v", path, typ, p)
				}
			}
		}
	}
	dbtest.Exec(t, w.dsn, "SET session_replication_role = replica; UPDATE tenants SET audit_hash = sha256(audit_hash) WHERE slug = 'acme'")
	w.do("GET", "/v1/tenants/acme/audit/checkpoint", w.root, "").problem(ProblemCodeConflict)
}

func TestKeyHistoryIsPublic(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	const path = "/t/acme/.well-known/jwks-history"
	a := w.do("GET", path, "", "").ok(200)
	if a.Header.Get("Content-Type") != mimeKeyHistory || a.Header.Get("Access-Control-Allow-Origin") != "*" ||
		!strings.Contains(a.Header.Get("Cache-Control"), "max-age=") || strings.Count(string(a.body), ".") != 2 {
		t.Fatalf("%v %s", a.Header, a.body)
	}
	if head := w.do("HEAD", path, "", "").ok(200); len(head.body) != 0 || head.Header.Get("ETag") != a.Header.Get("ETag") {
		t.Errorf("%v", head.Header)
	}
	w.do("GET", path, "", "", "If-None-Match", a.Header.Get("ETag")).ok(304)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "{}").ok(200)
	if again := w.do("GET", "/t/"+acme.ID.String()+"/.well-known/jwks-history", "", "", "If-None-Match", a.Header.Get("ETag")).ok(200); bytes.Equal(again.body, a.body) {
		t.Error("a rotation is not in it")
	}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"suspended"}`).ok(200)
	w.do("GET", path, "", "").ok(200)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	w.do("GET", path, "", "").problem(ProblemCodeTenantNotFound)
	w.do("GET", "/t/.../.well-known/jwks-history", "", "").problem(ProblemCodeTenantNotFound)
}
