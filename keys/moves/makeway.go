package moves

import (
	"context"
	"sync"
	"time"

	"github.com/keyward/keyward/db"
)

// While others ask, RunDue makes way: one transaction of a few tenants is under
// way instead of two of many, each of its statements makes a round trip of its
// own, keys of RSA are made one at a time, and after each transaction comes a rest
// as long as that took. Where PostgreSQL, the worker and what answers requests
// share cores, a request waits for what it finds running: a statement about a few
// tenants is soon over, a pipeline of them runs to its end.
const (
	wayBatch = 5
	// wayRate is how many requests a second are worth it. Fewer, such as those of
	// whoever watches the process, meet the worker seldom.
	wayRate = 10
	// waySpan is what the rate is taken over, at least.
	waySpan = time.Second
)

// manners are whether to make way, and since when they were thought about.
type manners struct {
	now func() time.Time // a clock that nobody sets

	mu    sync.Mutex
	since time.Time
	asked int64 // until then
	way   bool
}

// makeWay is told how many have asked by now, and says whether that is worth it.
func (m *manners) makeWay(asked int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if span := now.Sub(m.since); span >= waySpan || asked-m.asked >= wayRate {
		m.way = float64(asked-m.asked) >= wayRate*max(span, waySpan).Seconds()
		m.since, m.asked = now, asked
	}
	return m.way
}

func (s *Store) makeWay() bool { return s.cfg.Asked != nil && s.manners.makeWay(s.cfg.Asked()) }

// send is how statements go to PostgreSQL: in one round trip, or, from who makes
// way for requests, in as many as there are.
type send func(*db.Writes, context.Context) error

var (
	atOnce   send = (*db.Writes).Send
	oneByOne send = (*db.Writes).SendEach
)
