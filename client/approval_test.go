package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/uuid"
)

// An operation that waits for a second person is no success, and the approval
// goes with the request that is repeated.
func TestApproval(t *testing.T) {
	id := uuid.MustParse("019ab4c2-7a10-7c3e-9d52-2f1f6f0f3a11")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Keyward-Approval") == id.String() {
			_, _ = w.Write([]byte(`{"purged":[]}`))
			return
		}
		w.Header().Set("Location", "/v1/tenants/acme/approvals/"+id.String())
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"id":"` + id.String() + `","operation":"purge","status":"pending","requested_by":{"type":"api_key","id":"x","name":"n"},
			"created_at":"2026-11-21T09:30:00Z","expires_at":"2026-11-22T09:30:00Z"}`))
	}))
	defer s.Close()
	c, err := New(s.URL, "kw_0_0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PurgeKeys(t.Context(), "acme", NoOptions{})
	var waits *ApprovalError
	if !errors.As(err, &waits) || waits.Approval.ID != id {
		t.Fatalf("%v", err)
	}
	if _, err := c.PurgeKeys(t.Context(), "acme", NoOptions{}, Approved(id)); err != nil {
		t.Fatal(err)
	}
}
