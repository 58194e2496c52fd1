package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"
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
	var turns []Turn
	held := []time.Duration{}
	took := 10 * time.Millisecond
	for e, err := range c.Follow(t.Context(), "acme", "", func(turn Turn) {
		if !turn.Open {
			held = append(held, turn.Held)
		}
		turn.Held = 0
		turns = append(turns, turn)
	}) {
		if last = err; err == nil {
			seqs = append(seqs, e.Seq)
			time.Sleep(took)
		}
	}
	if len(held) != 2 || slices.Min(held) < took {
		t.Errorf("held for %v", held)
	}
	if want := []Turn{{Open: true}, {Err: io.ErrUnexpectedEOF}, {Open: true}, {Reason: "too slow", Err: io.ErrUnexpectedEOF}}; !slices.Equal(turns, want) {
		t.Errorf("turns %v", turns)
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

// What is no stream of events is not taken for a silent one.
func TestEventsOfSomethingElse(t *testing.T) {
	asked := 0
	c, _ := api(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked > 2 {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, "<h1>Please sign in</h1>\n\n")
	}, Retries(0))
	var turns []Turn
	for _, err := range c.Follow(t.Context(), "", "", func(turn Turn) { turns = append(turns, turn) }) {
		var p *Problem
		if !errors.As(err, &p) || p.Status != http.StatusNotFound {
			t.Errorf("%v", err)
		}
	}
	if want := []Turn{{Err: ErrNotKeyward}, {Err: ErrNotKeyward}}; !slices.Equal(turns, want) {
		t.Errorf("turns %v", turns)
	}
}
