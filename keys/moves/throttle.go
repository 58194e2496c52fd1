package moves

import (
	"sync"
	"time"
)

const (
	// yieldBatch bounds the tenants of a batch that yields to requests.
	yieldBatch = 5
	// yieldRate is the number of requests a second from which background work yields.
	// Fewer, such as those of a monitoring system, rarely coincide with the worker.
	yieldRate = 10
	// yieldWindow is the shortest interval over which the rate is computed.
	yieldWindow = time.Second
)

// maxLateness is how long after its due time a policy is late, at most.
const maxLateness = 10 * time.Second

// lateness returns how long after its due time a policy with a rotation interval (0: no
// rotation) is late: a hundredth of the interval, at most maxLateness.
func lateness(interval time.Duration) time.Duration {
	if interval == 0 {
		return maxLateness
	}
	return min(maxLateness, interval/100)
}

// throttle decides whether background work yields to requests. since is when it was last
// evaluated.
//
// While it yields, RunDue runs one small transaction at a time instead of two large
// ones, sends each statement in its own round trip, generates RSA keys one at a time,
// and pauses after each transaction as long as that took. Where PostgreSQL, the worker
// and the API share cores, a request waits for the work in progress: a statement about a
// few tenants ends soon, a pipeline of them runs to its end.
//
// Nothing yields while a policy is late, see [lateness]: keys are then rotated too late,
// which is worse than slow answers.
type throttle struct {
	now func() time.Time // the real time, unlike Config.Now

	mu       sync.Mutex
	since    time.Time
	requests int64 // total at that time
	yield    bool
}

// shouldYield reports whether there are enough requests to yield to; requests is their
// total so far.
func (m *throttle) shouldYield(requests int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if span := now.Sub(m.since); span >= yieldWindow || requests-m.requests >= yieldRate {
		m.yield = float64(requests-m.requests) >= yieldRate*max(span, yieldWindow).Seconds()
		m.since, m.requests = now, requests
	}
	return m.yield
}
