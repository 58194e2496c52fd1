package main

import (
	"context"
	"crypto/rand"
	"fmt"
	randv2 "math/rand/v2"
	"slices"
	"time"
)

// tenant is a customer that the campaign made, and what is known about it.
type tenant struct {
	slug, id, issuer string
	alg              string
	policy           map[string]any
	maxAge, stale    time.Duration // of its key set
	skew, ttl        time.Duration
	byHand           bool // writers change it; else the schedule alone
	crowd            bool // one of many that are alike
}

// path is the beginning of the tenant's paths in the admin API.
func (t *tenant) path() string { return "/v1/tenants/" + t.slug }

// writer changes one tenant, one request after the other, through all replicas.
type writer struct {
	*campaign
	*tenant
	random *randv2.Rand

	credentials []string // ids of API keys that it made and has not revoked
	names       []string // that the tenant may have: the last acknowledged, and what is unknown since
	lifetimes   []int    // the same of default_token_ttl_seconds
}

// work changes the tenant until ctx is over.
func (w *writer) work(ctx context.Context) {
	sum := 0
	for _, a := range actions {
		sum += a.share
	}
	for ctx.Err() == nil {
		n := w.random.IntN(sum)
		for _, a := range actions {
			if n -= a.share; n < 0 {
				a.do(w, ctx)
				break
			}
		}
		_ = w.rest(ctx, time.Duration(100+w.random.IntN(500))*time.Millisecond)
	}
}

// order asks for a change; as long as it is unknown what came of it, it asks
// again with the same Idempotency-Key, through another replica. A change whose
// end the campaign cut off has no tries.
func (w *writer) order(ctx context.Context, what, eventAction string, r request) change {
	r.headers = append(slices.Clip(r.headers), "Idempotency-Key", rand.Text())
	ch := change{what: what + " of " + w.slug, action: eventAction, request: r}
	for try := range 6 {
		a := w.ask(ctx, w.random.IntN(len(w.replicas)), r)
		if ctx.Err() != nil && a.err != nil {
			break
		}
		ch.tries = append(ch.tries, a)
		if a.claimed() != unknown {
			break
		}
		if pause(ctx, time.Duration(try+1)*500*time.Millisecond) != nil {
			break
		}
	}
	return ch
}

// done is the last answer if the change is acknowledged, nil otherwise. It
// reports refusals for which there is no reason.
func (w *writer) done(ch change, reasons ...int) *answer {
	if len(ch.tries) == 0 {
		return nil
	}
	last := &ch.tries[len(ch.tries)-1]
	w.record.check(expectedAnswers, 1)
	if last.claimed() == made {
		return last
	}
	if last.err == nil && last.status >= 400 && last.status < 500 && !slices.Contains(reasons, last.status) && len(ch.tries) == 1 {
		w.record.brokeDuring(expectedAnswers, last.began, last.ended, "%s: %s", ch.what, last.said())
	}
	return nil
}

type keyAnswer struct {
	KID   string `json:"kid"`
	State string `json:"state"`
}

// became holds that a key is in one of the states that a change can have led
// to, what the schedule did with it later included.
func (w *writer) became(kid string, states ...string) func(*history) string {
	return func(h *history) string {
		switch k := h.key(w.id, kid); {
		case k == nil:
			return "there is no key " + kid
		case !slices.Contains(states, k.state):
			return fmt.Sprintf("the key %s is %s", kid, k.state)
		}
		return ""
	}
}

// keyIn asks for a key in a state; "" if there is none to be had.
func (w *writer) keyIn(ctx context.Context, state string) string {
	a := w.ask(ctx, w.random.IntN(len(w.replicas)), request{kind: "list keys", method: "GET", path: w.path() + "/keys?state=" + state + "&alg=" + w.alg})
	var list struct{ Items []keyAnswer }
	if !a.ok() || a.decode(&list) != nil || len(list.Items) == 0 {
		return ""
	}
	return list.Items[len(list.Items)-1].KID
}

// remember keeps which values something may have after a change: the new one
// alone once that is acknowledged, both while it is unknown.
func remember[T any](values []T, value T, ch change) []T {
	switch ch.tries[len(ch.tries)-1].claimed() {
	case made:
		return []T{value}
	case unknown:
		return append(values, value)
	}
	for _, a := range ch.tries {
		if a.claimed() == unknown {
			return append(values, value)
		}
	}
	return values
}

// settleLast adds what must hold once the writer has ended: the last values.
func (w *writer) settleLast() {
	now := time.Now()
	w.truth.add(fact{what: "the name of " + w.slug, said: fmt.Sprint(w.names), begun: now, at: now, promise: nothingLost, check: func(h *history) string {
		if name := h.names[w.id]; len(w.names) > 0 && !slices.Contains(w.names, name) {
			return "it is " + name
		}
		return ""
	}})
	w.truth.add(fact{what: "default_token_ttl_seconds of " + w.slug, said: fmt.Sprint(w.lifetimes), begun: now, at: now, promise: nothingLost, check: func(h *history) string {
		if seconds := h.lifetimes[w.id+"/"+w.alg]; len(w.lifetimes) > 0 && !slices.Contains(w.lifetimes, seconds) {
			return fmt.Sprint("it is ", seconds)
		}
		return ""
	}})
}
