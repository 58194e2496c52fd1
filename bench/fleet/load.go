package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// outcome is one request, as its client saw it.
type outcome struct {
	began time.Time
	took  time.Duration
	err   error
}

// load asks for tokens and JWKS of every tenant through every replica, and
// revokes keys, until its context ends.
type load struct {
	*fleet
	tenants int

	mu                        sync.Mutex
	tokens, sets, revocations []outcome
	revoked                   map[string]string // kid to tenant: acknowledged
}

func (f *fleet) load(ctx context.Context, tenants int) (l *load, wait func()) {
	l = &load{fleet: f, tenants: tenants, revoked: map[string]string{}}
	var clients sync.WaitGroup
	every := func(pause time.Duration, do func()) {
		clients.Go(func() {
			for ctx.Err() == nil {
				do()
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	for i := range f.urls {
		every(10*time.Millisecond, func() { l.token(ctx, i) })
		every(5*time.Millisecond, func() { l.set(ctx, i) })
	}
	every(200*time.Millisecond, func() { l.revoke(ctx) })
	return l, clients.Wait
}

func (l *load) token(ctx context.Context, replica int) {
	url := l.urls[replica] + "/v1/tenants/" + slug(rand.IntN(l.tenants)) + "/tokens"
	l.note(ctx, &l.tokens, func() error { _, err := l.ask(ctx, "POST", url, `{"claims":{"sub":"a"}}`); return err })
}

func (l *load) set(ctx context.Context, replica int) {
	l.note(ctx, &l.sets, func() error { _, err := l.jwks(ctx, replica, slug(rand.IntN(l.tenants))); return err })
}

func (l *load) revoke(ctx context.Context) {
	tenant, replica := slug(rand.IntN(l.tenants)), rand.IntN(len(l.urls))
	set, err := l.jwks(ctx, replica, tenant)
	if err != nil {
		return
	}
	kid := active(set)
	l.note(ctx, &l.revocations, func() error {
		_, err := l.ask(ctx, "POST", l.urls[replica]+"/v1/tenants/"+tenant+"/keys/"+kid+"/revoke", `{"reason":"superseded"}`)
		if err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.revoked[kid] = tenant
		}
		return err
	})
}

// note leaves out what the end of the trial cut off.
func (l *load) note(ctx context.Context, to *[]outcome, do func() error) {
	o := outcome{began: time.Now()}
	o.err = do()
	o.took = time.Since(o.began)
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	*to = append(*to, o)
}

// summary says how many there were, how long they took, how many failed after a
// moment, and the longest time for which none succeeded.
func summary(all []outcome, since time.Time) string {
	if len(all) == 0 {
		return "none"
	}
	slices.SortFunc(all, func(x, y outcome) int { return x.end().Compare(y.end()) })
	var waits []time.Duration
	var failed, before int
	var from, to time.Time // of the longest gap
	good := all[0].began
	for _, o := range all {
		waits = append(waits, o.took)
		if o.err != nil {
			if failed++; o.end().Before(since) {
				before++
			}
			continue
		}
		if o.end().Sub(good) > to.Sub(from) {
			from, to = good, o.end()
		}
		good = o.end()
	}
	slices.Sort(waits)
	text := fmt.Sprintf("%d, p50 %v, p99 %v, longest %v; %d failed", len(all), at(waits, 0.5), at(waits, 0.99), at(waits, 1), failed)
	if failed > 0 {
		text += fmt.Sprintf(", %d of them before; none succeeded from %.1f s to %.1f s after", before, from.Sub(since).Seconds(), to.Sub(since).Seconds())
	}
	return text
}

func (o outcome) end() time.Time { return o.began.Add(o.took) }

func at(sorted []time.Duration, p float64) time.Duration {
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))].Round(10 * time.Microsecond)
}
