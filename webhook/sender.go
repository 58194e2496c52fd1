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

// SignatureType is the typ of a delivery's signature, so that no other signature of the
// platform passes as one (RFC 8725 section 3.11).
const SignatureType = "keyward-webhook+jws"

// SenderConfig configures a Sender.
type SenderConfig struct {
	Store *Store
	Audit *audit.Store
	By    audit.By // the actor that disables failing webhooks
	// Render returns an event in the form of the API.
	Render func(audit.Event) (json.RawMessage, error)
	Signer Signer
	Log    *slog.Logger // nil: no log

	Parallel int           // concurrent requests; 0: 16
	Look     time.Duration // interval of polling for events without a notification; 0: 30 s
	Lease    time.Duration // of a claimed webhook, renewed with each attempt; 0: 1 minute

	ClaimTime time.Duration // after which a claimed webhook is released, at the end of an attempt; 0: 2 s
	SlowAfter time.Duration // an attempt that takes longer puts its webhook into the slow lane; 0: 2 s
}

// Signer signs what is delivered, by a key of the platform.
type Signer interface {
	// Sign returns the detached JWS of a body.
	Sign(ctx context.Context, body []byte) (string, error)
	// SignSET returns an event as a SET for an audience. id is its jti, the same in each
	// attempt, at its iat.
	SignSET(ctx context.Context, e audit.Event, id uuid.UUID, audience string, at time.Time) (string, error)
}

// Sender turns events into deliveries and posts them. Any number of senders may
// share a database: locks and leases keep them apart.
type Sender struct {
	cfg   SenderConfig
	store *Store

	mu      sync.Mutex
	changed map[uuid.UUID]bool // tenants that may have new events
	missed  bool               // any tenant may
	woken   chan struct{}      // of size 1: signals merge
	due     chan struct{}      // the same, for the deliver loop

	polledXID uint64 // the oldest transaction running at the last poll; 0: never polled. Owned by the turn loop

	slow slowWebhooks

	counts [3]atomic.Int64 // attempts by outcome
}

// NewSender returns a Sender. It starts with Run.
func NewSender(cfg SenderConfig) *Sender {
	cfg.Parallel = cmp.Or(cfg.Parallel, 16)
	cfg.Look = cmp.Or(cfg.Look, 30*time.Second)
	cfg.Lease = cmp.Or(cfg.Lease, time.Minute)
	cfg.ClaimTime = cmp.Or(cfg.ClaimTime, 2*time.Second)
	cfg.SlowAfter = cmp.Or(cfg.SlowAfter, 2*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Sender{
		cfg: cfg, store: cfg.Store, changed: map[uuid.UUID]bool{}, missed: true,
		woken: make(chan struct{}, 1), due: make(chan struct{}, 1),
	}
}

// Changed signals that a change of a tenant was committed.
func (s *Sender) Changed(tenantID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed[tenantID] = true
	wakeUp(s.woken)
}

// Missed signals that any tenant may have changed, because notifications were lost.
func (s *Sender) Missed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed = true
	wakeUp(s.woken)
}

// wakeUp signals on a channel of size 1 without blocking.
func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// takeChanged returns the tenants that may have new events, and resets them. any is
// true if other tenants may have some as well.
func (s *Sender) takeChanged() (tenantIDs []uuid.UUID, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.changed {
		tenantIDs = append(tenantIDs, id)
	}
	any = s.missed
	s.changed, s.missed = map[uuid.UUID]bool{}, false
	return tenantIDs, any
}

// Run turns and delivers until ctx ends and the requests in progress are finished.
func (s *Sender) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { s.turnLoop(ctx) })
	both.Go(func() { s.deliverLoop(ctx) })
	both.Wait()
}

// Once turns all events and posts all deliveries that are due, and waits for them.
// Errors: ErrUnavailable.
func (s *Sender) Once(ctx context.Context) error {
	for held := true; held; {
		var err error
		if held, err = s.turn(ctx, nil, true); err != nil {
			return wrapError("turn", err)
		}
		if held {
			waitFor(ctx, nil, nil, minHeldPause)
		}
	}
	lanes := newLanes(s.cfg.Parallel)
	for {
		var all sync.WaitGroup
		started, err := s.startClaims(ctx, lanes, &all)
		all.Wait()
		if err != nil || started == 0 {
			return wrapError("claim", err)
		}
	}
}

// Outcomes of attempts, as Stats counts them.
var Outcomes = [3]string{"delivered", "retried", "failed"}

const (
	outcomeDelivered = iota
	outcomeRetried
	outcomeFailed
)

// Stats returns the number of this process's attempts by outcome, in the order of
// Outcomes.
func (s *Sender) Stats() (counts [3]int64) {
	for i := range s.counts {
		counts[i] = s.counts[i].Load()
	}
	return counts
}
