package keys

import (
	"context"
	"sync"
	"time"
)

// While somebody asks, RunDue makes way: one transaction of a few tenants is
// under way instead of two of many, keys of RSA are made one at a time, and after
// each transaction comes a rest as long as that took. Where PostgreSQL, the worker
// and what answers requests share cores, a request waits for what it finds
// running, and a statement about a few tenants is soon over.
const (
	wayBatch = 5
	// wayFor is for how long one request means that more will come.
	wayFor = 10 * time.Second
)

// manners remembers when somebody asked last.
type manners struct {
	mu    sync.Mutex
	asked int64
	until time.Time
}

// makeWay says whether anybody has asked lately.
func (s *Store) makeWay() bool {
	if s.cfg.Asked == nil {
		return false
	}
	m, at, n := &s.manners, s.now(), s.cfg.Asked()
	m.mu.Lock()
	defer m.mu.Unlock()
	if n != m.asked {
		m.asked, m.until = n, at.Add(wayFor)
	}
	return at.Before(m.until)
}

// rest waits, unless ctx ends before.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
