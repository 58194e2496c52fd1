package publish

import (
	"context"
	"errors"
	"sync"
	"time"
)

// outage holds off all attempts while the store answers none: after failuresOfOutage
// failures in a row it allows one attempt, after a wait that doubles from minPause to
// maxPause.
type outage struct {
	mu       sync.Mutex
	failures int
	until    time.Time
}

const (
	failuresOfOutage = 8
	minPause         = 250 * time.Millisecond
	maxPause         = 5 * time.Second
)

// record counts a result. What is not the store's fault counts as an answer of it, or not
// at all.
func (o *outage) record(err error) {
	var ours renderError
	if errors.As(err, &ours) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil || errors.Is(err, ErrSuperseded) {
		o.failures, o.until = 0, time.Time{}
		return
	}
	if o.failures++; o.failures >= failuresOfOutage {
		o.until = time.Now().Add(min(minPause<<min(o.failures-failuresOfOutage, 10), maxPause))
	}
}

// wait waits until an attempt is allowed. It returns false if ctx is done before.
func (o *outage) wait(ctx context.Context) bool {
	for {
		o.mu.Lock()
		left := time.Until(o.until)
		if left <= 0 {
			if !o.until.IsZero() { // this is the attempt; the others wait for its result
				o.until = time.Now().Add(min(maxPause, attemptTimeout))
			}
			o.mu.Unlock()
			return ctx.Err() == nil
		}
		o.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, minPause)):
		}
	}
}
