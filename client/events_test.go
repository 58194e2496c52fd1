package client

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// A stream that breaks off, even within an event, is gone on with behind the
// last whole one, until the credential is not valid any more.
func TestEventsGoOn(t *testing.T) {
	var after []string
	c, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		after = append(after, r.URL.Path+" "+r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		switch len(after) {
		case 1:
			fmt.Fprint(w, "retry: 1\nid: 0\n\n:\n\nid: 1\nevent: key.created\ndata: {\"seq\":1,\"kid\":\"a\"}\n\nid: 2\ndata: {\"se")
		case 2:
			fmt.Fprint(w, "id: 2\ndata: {\"seq\":2}\n\n: too slow\n\n")
		default:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"code":"unauthenticated"}`)
		}
	}, Retries(0))
	var seqs []int64
	var last error
	for e, err := range c.Events(t.Context(), "acme", "") {
		if last = err; err == nil {
			seqs = append(seqs, e.Seq)
		}
	}
	var p *Problem
	if !errors.As(last, &p) || p.Code != ProblemCodeUnauthenticated || !slices.Equal(seqs, []int64{1, 2}) {
		t.Errorf("%v, then %v", seqs, last)
	}
	if want := []string{"/v1/tenants/acme/events ", "/v1/tenants/acme/events 1", "/v1/tenants/acme/events 2"}; !slices.Equal(after, want) {
		t.Errorf("asked for %q", after)
	}
	for _, err := range c.Events(t.Context(), "", "3") {
		if after[3] != "/v1/events 3" {
			t.Errorf("%q, %v", after[3], err)
		}
	}
}
