package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// linear records the operations of three clients, each at its own replica, on
// one policy that nobody else changes: rotations that ask to wait for all
// replicas, and signatures. The register that they share is the active kid.
type linear struct {
	*campaign
	tenant *tenant
	first  string // the kid that signs at the beginning

	mu      sync.Mutex
	ops     []step
	honours bool // an answer had the member replicas: Prefer is obeyed
}

// step is one operation; a rotation of which nothing is known is completed
// from the history.
type step struct {
	client      int
	rotation    bool
	kid         string // a signature's, or the one that a rotation made active
	before      string // a rotation: the one that it deprecated
	from        answer
	unconfirmed bool // some replica had not confirmed when it was answered
}

// work is one client's life.
func (l *linear) work(ctx context.Context, client int, random *rand.Rand) {
	for ctx.Err() == nil {
		if random.IntN(20) == 0 {
			l.rotate(ctx, client)
		} else {
			l.sign(ctx, client)
		}
		_ = l.campaign.rest(ctx, time.Duration(50+random.IntN(200))*time.Millisecond)
	}
}

func (l *linear) note(s step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, s)
}

func (l *linear) sign(ctx context.Context, client int) {
	a := l.ask(ctx, client, request{
		kind: "sign", method: "POST", path: l.tenant.path() + "/tokens", body: map[string]any{"claims": map[string]any{"sub": "linear"}},
		bound: signBound, promise: boundedSign, ifFailed: true,
	})
	var said struct{ KID string }
	if a.ok() && a.decode(&said) == nil {
		l.note(step{client: client, kid: said.KID, from: a})
	}
}

func (l *linear) rotate(ctx context.Context, client int) {
	a := l.ask(ctx, client, request{kind: "rotate and wait", method: "POST", path: l.tenant.path() + "/keys/rotate", body: map[string]any{"alg": l.tenant.alg}, headers: []string{"Prefer", "wait=5"}})
	var said struct {
		Active     keyAnswer
		Deprecated *keyAnswer
		Replicas   *struct{ Live, Confirmed int }
	}
	ch := change{what: "rotation of " + l.tenant.slug, action: "key.activated", tries: []answer{a}}
	switch {
	case a.ok() && a.decode(&said) == nil && said.Deprecated != nil:
		s := step{client: client, rotation: true, kid: said.Active.KID, before: said.Deprecated.KID, from: a}
		if said.Replicas != nil {
			l.mu.Lock()
			l.honours = true
			l.mu.Unlock()
			s.unconfirmed = said.Replicas.Confirmed < said.Replicas.Live
		}
		l.note(s)
		l.truth.settle(ch, said.Active.KID, nil)
	case a.claimed() == unknown:
		l.note(step{client: client, rotation: true, from: a})
	case ctx.Err() == nil:
		l.truth.settle(ch, "", nil)
	}
}

// operation is a step for porcupine.
type (
	input  struct{ rotation bool }
	output struct{ before, kid string }
)

func register(first string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, in, out any) (bool, any) {
			o := out.(output)
			if in.(input).rotation {
				return state == o.before, o.kid
			}
			return state == o.kid, state
		},
	}
}

// confirm checks the recorded operations. Where the server does not say which
// replicas have confirmed, nothing was promised, and nothing is judged.
func (l *linear) confirm(h *history) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.honours {
		l.record.note("Linearizability was not checked: no answer to a rotation with `Prefer: wait=5` had the member `replicas`.")
		return
	}
	ops := toOperations(l.complete(h), l.record.began)
	l.record.check(linearizable, len(ops))
	if result := porcupine.CheckOperationsTimeout(register(l.first), ops, 30*time.Second); result == porcupine.Illegal {
		l.record.broke(linearizable, "porcupine finds no order for the %d operations of %s; %s", len(ops), l.tenant.slug, l.stale())
	} else if result == porcupine.Unknown {
		l.record.note("porcupine did not finish within 30 s with %d operations.", len(ops))
	}
}

// complete fills in rotations whose answer was lost, leaves out rotations that were
// not made, and leaves out signatures that an unconfirmed rotation excuses.
func (l *linear) complete(h *history) []step {
	var all []step
	for _, s := range l.ops {
		if s.rotation && s.kid == "" {
			for _, e := range h.byRequest[s.from.id] {
				switch e.action {
				case "key.activated":
					s.kid = e.kid
				case "key.deprecated":
					s.before = e.kid
				}
			}
			s.unconfirmed = true
		}
		if s.kid != "" {
			all = append(all, s)
		}
	}
	var kept []step
	for _, s := range all {
		if s.rotation || !excused(s, all) {
			kept = append(kept, s)
		}
	}
	return kept
}

// excused reports whether a signature fell into the time in which a replica
// that had not confirmed a rotation may not have heard of it.
func excused(s step, all []step) bool {
	for _, r := range all {
		if r.unconfirmed && s.from.ended.After(r.from.began) && s.from.began.Before(r.from.ended.Add(deafness+time.Second)) {
			return true
		}
	}
	return false
}

func toOperations(steps []step, since time.Time) []porcupine.Operation {
	var ops []porcupine.Operation
	for _, s := range steps {
		op := porcupine.Operation{
			ClientId: s.client, Input: input{s.rotation}, Output: output{s.before, s.kid},
			Call: s.from.began.Sub(since).Nanoseconds(), Return: s.from.ended.Sub(since).Nanoseconds(),
		}
		if s.rotation && !s.from.ok() {
			op.Return = math.MaxInt64 // it may have taken effect at any later time
			op.ClientId = len(ops) + 100
		}
		ops = append(ops, op)
	}
	return ops
}

// stale describes the first signature with a key whose rotation away from was
// answered before.
func (l *linear) stale() string {
	for _, s := range l.ops {
		if s.rotation {
			continue
		}
		for _, r := range l.ops {
			if r.rotation && !r.unconfirmed && r.from.ok() && r.before == s.kid && r.from.ended.Before(s.from.began) {
				return fmt.Sprintf("replica-%d signed with %s at %s, %.1f ms after the rotation away from it was answered by replica-%d at %s",
					s.from.replica, s.kid, l.record.at(s.from.began), float64(s.from.began.Sub(r.from.ended).Microseconds())/1000, r.from.replica, l.record.at(r.from.ended))
			}
		}
	}
	return "no signature is stale by itself"
}
