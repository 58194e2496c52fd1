package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// fact is something that must be true because of an answer that was given.
type fact struct {
	what    string    // the change, for the evidence
	said    string    // the answer
	begun   time.Time // when it was asked for
	at      time.Time // of the answer
	promise string
	check   func(*history) string // "" if it holds, else what is wrong
}

// truth is what writers know must be true.
type truth struct {
	mu    sync.Mutex
	facts []fact
	told  map[int]bool // facts that were reported already
}

func newTruth() *truth { return &truth{told: map[int]bool{}} }

func (t *truth) add(f fact) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts = append(t.facts, f)
}

// confirm holds all facts against what the database has. Facts younger than
// the history are left for the next time.
func (t *truth) confirm(h *history, r *record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, f := range t.facts {
		if f.at.After(h.read) || t.told[i] {
			continue
		}
		r.check(f.promise, 1)
		if wrong := f.check(h); wrong != "" {
			t.told[i] = true
			r.brokeDuring(f.promise, f.begun, f.at, "%s, answered at %s with %s; %s", f.what, r.at(f.at), f.said, wrong)
		}
	}
}

// change is what a writer asked for, possibly more than once by the same
// Idempotency-Key.
type change struct {
	what    string
	action  string   // of the audit event that it must leave
	tries   []answer // in order
	request request
}

// requests are the ids of all tries.
func (ch change) requests() []string {
	var ids []string
	for _, a := range ch.tries {
		ids = append(ids, a.id)
	}
	return ids
}

// settle turns the answers into facts: what was made must be there, what was
// answered as unchanged must not, and with an Idempotency-Key nothing may be
// there twice. state adds what must hold of the state.
func (t *truth) settle(ch change, kid string, state func(*history) string) {
	last := ch.tries[len(ch.tries)-1]
	if last.claimed() == made {
		t.made(ch, kid, state)
	}
	for _, a := range ch.tries {
		if a.claimed() == unchanged {
			t.add(fact{what: ch.what, said: a.said(), begun: a.began, at: a.ended, promise: unchangedIsTrue, check: func(h *history) string {
				if events := h.byRequest[a.id]; len(events) > 0 && events[0].action != "authorization.denied" {
					return fmt.Sprintf("the history has %s of it, committed at %s", events[0].action, events[0].committed.Format("15:04:05.000"))
				}
				return ""
			}})
		}
	}
	if len(ch.tries) > 1 {
		t.add(fact{what: ch.what, said: last.said(), begun: ch.tries[0].began, at: last.ended, promise: onceOnly, check: func(h *history) string {
			if n := ch.times(h); n > 1 {
				return fmt.Sprintf("it was made %d times by the requests %s", n, strings.Join(ch.requests(), ", "))
			}
			return ""
		}})
	}
}

// made adds the fact that an acknowledged change is there.
func (t *truth) made(ch change, kid string, state func(*history) string) {
	last := ch.tries[len(ch.tries)-1]
	t.add(fact{what: ch.what, said: last.said(), begun: ch.tries[0].began, at: last.ended, promise: nothingLost, check: func(h *history) string {
		if !ch.left(h, kid) {
			return fmt.Sprintf("no event %s of any of the requests %s is in the history", ch.action, strings.Join(ch.requests(), ", "))
		}
		if state != nil {
			return state(h)
		}
		return ""
	}})
}

// left reports whether any of the tries left its event.
func (ch change) left(h *history, kid string) bool {
	for _, id := range ch.requests() {
		if h.has(id, ch.action, kid) {
			return true
		}
	}
	return false
}

// times is by how many of the tries the change was made.
func (ch change) times(h *history) (n int) {
	for _, id := range ch.requests() {
		if h.has(id, ch.action, "") {
			n++
		}
	}
	return n
}
