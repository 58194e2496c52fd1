package httpapi

import (
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// slotPool limits the streams, or exports, that are open at once.
type slotPool struct {
	what  string // in the singular
	most  int
	share float64 // of one tenant, in what it has and what is free

	mu    sync.Mutex
	taken int
	of    map[uuid.UUID]int // by the tenant of the credential
}

// newSlotPool registers a gauge of the open slots if metrics is not nil.
func newSlotPool(metrics *prometheus.Registry, what, gauge string, most int, share float64) (*slotPool, error) {
	s := &slotPool{what: what, most: most, share: share, of: map[uuid.UUID]int{}}
	if metrics == nil {
		return s, nil
	}
	return s, metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: gauge, Help: "Open " + what + "s.",
	}, func() float64 { return float64(s.openSlots()) }))
}

// takeSlot takes a slot for a credential of a tenant, or of the platform, until
// leave is called. One tenant never gets more than its share of what it has and what is
// free together, but the first slot: a tenant alone gets that share of all, and however
// many tenants take what they can, something is left for the next one.
func (s *slotPool) takeSlot(tenantID *uuid.UUID) (leave func(), err error) {
	home := uuid.Nil
	if tenantID != nil {
		home = *tenantID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own, free := s.of[home], s.most-s.taken
	if tenantID != nil && own > 0 && float64(own) >= s.share*float64(own+free) {
		return nil, newProblem(ProblemCodeRateLimited, fmt.Sprintf("The tenant has reached its limit of %d open %ss; it is higher while fewer are open.", own, s.what))
	}
	if free <= 0 {
		return nil, newProblem(ProblemCodeUnavailable, "The limit of open "+s.what+"s is reached; try again.")
	}
	s.taken++
	s.of[home]++
	return func() { s.releaseSlot(home) }, nil
}

func (s *slotPool) releaseSlot(home uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.of[home]--; s.of[home] == 0 {
		delete(s.of, home)
	}
}

func (s *slotPool) openSlots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}
