package httpapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// A chain may be long: the limit of the server for an answer is over long
// before this one begins.
func TestVerifyingTakesItsTime(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	s := httptest.NewUnstartedServer(w.server)
	s.Config.WriteTimeout = time.Nanosecond
	s.Start()
	t.Cleanup(s.Close)
	w.url = s.URL
	var v AuditVerification
	if w.do("GET", "/v1/tenants/acme/audit/verify", w.root, "").ok(200, &v); !v.Intact || v.Events == 0 {
		t.Errorf("%+v", v)
	}
}

// The states of a tenant are among those that a history is asked for.
func TestAuditByTheTenantsState(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"suspended"}`).ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"active"}`).ok(200)
	for state, want := range map[string][]string{
		"suspended": {"tenant.suspended"},
		"active":    {"key.activated", "tenant.resumed"},
	} {
		for _, path := range []string{"/v1/tenants/acme/audit?order=asc&state=", "/v1/audit?order=asc&tenant=acme&state="} {
			var list AuditEventList
			w.do("GET", path+state, w.root, "").ok(200, &list)
			var got []string
			for _, e := range list.Items {
				got = append(got, string(e.Action))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s%s: %v, not %v", path, state, got, want)
			}
		}
	}
}

// A checkpoint of the platform commits to the end of every history, deleted tenants'
// too, and proves the one that was asked for.
func TestPlatformCheckpoint(t *testing.T) {
	w := newWorld(t)
	auditor := w.key(tenant.PlatformAuditor, nil)
	gone := w.tenant("gone")
	acme := w.tenant("acme")
	w.do("DELETE", "/v1/tenants/gone", w.root, "").ok(204)
	keys := w.do("GET", "/.well-known/jwks.json", "", "").ok(200).body
	for _, ref := range []string{"acme", acme.ID.String(), gone.ID.String(), "platform"} {
		var c PlatformCheckpoint
		w.do("GET", "/v1/checkpoint?tenant="+ref, auditor, "").ok(200, &c)
		said, err := signing.VerifyPlatformCheckpoint(c.Checkpoint, keys)
		if err != nil || said.Tenants != 3 || c.Inclusion == nil {
			t.Fatalf("%s: %+v: %v", ref, said, err)
		}
		var head AuditVerification
		if ref != gone.ID.String() {
			w.do("GET", "/v1/tenants/"+ref+"/audit/verify", w.root, "").ok(200, &head)
		} else {
			head.Head = AuditHead{Seq: c.Inclusion.Seq, Hash: c.Inclusion.Hash}
		}
		i := c.Inclusion
		leaf := signing.CheckpointLeaf{TenantID: i.TenantID, Tenant: i.Tenant, Seq: i.Seq, Hash: i.Hash}
		if err := said.Covers(signing.Inclusion{CheckpointLeaf: leaf, Index: i.Index, Path: i.Path}); err != nil || i.Seq != head.Head.Seq || i.Hash != head.Head.Hash {
			t.Errorf("%s: %+v, the head is %+v: %v", ref, i, head.Head, err)
		}
		if _, err := signing.VerifyCheckpoint(c.Checkpoint, keys); err == nil {
			t.Error("it is taken for a checkpoint of one tenant")
		}
	}
	w.do("GET", "/v1/checkpoint?tenant=nobody", auditor, "").problem(ProblemCodeTenantNotFound)
	w.do("GET", "/v1/checkpoint?tenant=", auditor, "").problem(ProblemCodeInvalidRequest)
	w.do("GET", "/v1/checkpoint", auditor, "", "Accept", "text/csv").problem(ProblemCodeNotAcceptable)

	a := w.do("GET", "/v1/checkpoint", auditor, "", "Accept", "application/x-ndjson").ok(200)
	lines := bytes.Split(bytes.TrimSpace(a.body), []byte("\n"))
	var last PlatformCheckpoint
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || len(lines) != 4 {
		t.Fatalf("%s: %v", a.body, err)
	}
	said, err := signing.VerifyPlatformCheckpoint(last.Checkpoint, keys)
	if err != nil {
		t.Fatal(err)
	}
	var tree audit.Tree
	before := uuid.Nil
	for _, line := range lines[:3] {
		var leaf signing.CheckpointLeaf
		if err := json.Unmarshal(line, &leaf); err != nil {
			t.Fatal(err)
		}
		head, err := leaf.Head()
		if err != nil || bytes.Compare(before[:], leaf.TenantID[:]) >= 0 {
			t.Errorf("%s after %s: %v", leaf.TenantID, before, err)
		}
		tree.Add(head)
		before = leaf.TenantID
	}
	if hex.EncodeToString(tree.Root()) != said.Root {
		t.Error("the leaves do not have the signed root")
	}
}
