package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

// SenderConfig says what a Sender needs.
type SenderConfig struct {
	Store *Store
	Audit *audit.Store
	By    audit.By // who disables a webhook that nothing gets through to
	// Render is an event as receivers read it.
	Render func(audit.Event) (json.RawMessage, error)
	// Sign makes the detached JWS of a body, by a key of the platform.
	Sign func(ctx context.Context, body []byte) (string, error)
	Log  *slog.Logger // nil: nobody is told

	Parallel int           // requests at once; 0: 16
	Look     time.Duration // between looks for events that nobody told of; 0: 30 s
	Lease    time.Duration // of a webhook, renewed with each attempt; 0: 1 minute
}

// Sender turns events into deliveries and posts them. Any number of them may
// work on one database: locks and leases see to it that they do not meet.
type Sender struct {
	cfg   SenderConfig
	store *Store

	mu      sync.Mutex
	changed map[uuid.UUID]bool // tenants that may have new events
	missed  bool               // any may
	woken   chan struct{}      // holds one call
	due     chan struct{}      // the same, for whoever delivers

	looked uint64 // the oldest transaction that ran at the last look; 0: none yet. Whoever turns owns it

	counts [3]atomic.Int64 // by outcome
}

// NewSender returns a Sender that does nothing before Run.
func NewSender(cfg SenderConfig) *Sender {
	cfg.Parallel = cmp.Or(cfg.Parallel, 16)
	cfg.Look = cmp.Or(cfg.Look, 30*time.Second)
	cfg.Lease = cmp.Or(cfg.Lease, time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Sender{
		cfg: cfg, store: cfg.Store, changed: map[uuid.UUID]bool{}, missed: true,
		woken: make(chan struct{}, 1), due: make(chan struct{}, 1),
	}
}

// Changed tells that a transaction about a tenant was committed.
func (s *Sender) Changed(tenantID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed[tenantID] = true
	wake(s.woken)
}

// Missed tells that any tenant may have changed.
func (s *Sender) Missed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed = true
	wake(s.woken)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns the tenants that may have new events; any says that others may
// too.
func (s *Sender) take() (tenantIDs []uuid.UUID, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.changed {
		tenantIDs = append(tenantIDs, id)
	}
	any = s.missed
	s.changed, s.missed = map[uuid.UUID]bool{}, false
	return tenantIDs, any
}

// Run works until ctx is over and the requests under way have been answered.
func (s *Sender) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { s.turnNowAndThen(ctx) })
	both.Go(func() { s.deliverNowAndThen(ctx) })
	both.Wait()
}

// Once does all that is to be done now, and waits for it. Errors:
// ErrUnavailable.
func (s *Sender) Once(ctx context.Context) error {
	for held := true; held; {
		var err error
		if held, err = s.turn(ctx, nil, true); err != nil {
			return failed("turn", err)
		}
		if held {
			rest(ctx, nil, nil, shortly)
		}
	}
	for {
		claims, err := s.claim(ctx, s.cfg.Parallel)
		if err != nil || len(claims) == 0 {
			return failed("claim", err)
		}
		var all sync.WaitGroup
		for _, c := range claims {
			all.Go(func() { s.deliver(ctx, c) })
		}
		all.Wait()
	}
}

// Outcomes of attempts, as Stats counts them.
var Outcomes = [3]string{"delivered", "retried", "failed"}

const (
	outcomeDelivered = iota
	outcomeRetried
	outcomeFailed
)

// Stats counts what became of this process's attempts, in the order of
// Outcomes.
func (s *Sender) Stats() (counts [3]int64) {
	for i := range s.counts {
		counts[i] = s.counts[i].Load()
	}
	return counts
}
