package httpapi

import (
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// slotPool limits the streams, or exports, that are open at once.
type slotPool struct {
	what string // in the singular
	most int

	mu    sync.Mutex
	taken int
	of    map[uuid.UUID]int // by the tenant of the credential
}

// newSlotPool registers a gauge of the open slots if metrics is not nil.
func newSlotPool(metrics *prometheus.Registry, what, gauge string, most int) (*slotPool, error) {
	s := &slotPool{what: what, most: most, of: map[uuid.UUID]int{}}
	if metrics == nil {
		return s, nil
	}
	return s, metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: gauge, Help: "Open " + what + "s.",
	}, func() float64 { return float64(s.openSlots()) }))
}

// takeSlot takes a slot for a credential of a tenant, or of the platform, until
// leave is called. One tenant never gets more than a tenth of all slots.
func (s *slotPool) takeSlot(tenantID *uuid.UUID) (leave func(), err error) {
	home := uuid.Nil
	if tenantID != nil {
		home = *tenantID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if share := max(1, s.most/10); tenantID != nil && s.of[home] >= share {
		return nil, newProblem(ProblemCodeRateLimited, fmt.Sprintf("The tenant has reached its limit of %d open %ss.", share, s.what))
	}
	if s.taken >= s.most {
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
