// Package admission bounds look-ups that strangers can cause, and that find nothing.
// Internal to Keyward: no compatibility promise.
//
// A look-up takes a token and gives it back if it finds something, so that real names
// cost nothing and only made-up ones are counted. Whoever floods, and from however many
// addresses, causes no more fruitless look-ups a second than Config.Rate, and no more
// at once than Config.Concurrent.
package admission

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Config configures a Gate.
type Config struct {
	Now        func() time.Time
	Rate       int // fruitless look-ups in a second
	Burst      int // fruitless look-ups at once after a quiet time
	Concurrent int // look-ups at a time
}

// Gate admits look-ups. It is safe for concurrent use.
type Gate struct {
	cfg   Config
	slots chan struct{}

	mu     sync.Mutex
	tokens float64
	at     time.Time // of tokens
}

// BusyError refuses a look-up until some time has passed.
type BusyError struct{ RetryAfter time.Duration }

// RetryIn returns RetryAfter.
func (e *BusyError) RetryIn() time.Duration { return e.RetryAfter }

func (e *BusyError) Error() string {
	return fmt.Sprintf("too many look-ups of unknown names; retry in %s", e.RetryAfter)
}

// New returns a Gate with all its tokens.
func New(cfg Config) *Gate {
	return &Gate{cfg: cfg, slots: make(chan struct{}, cfg.Concurrent), tokens: float64(cfg.Burst), at: cfg.Now()}
}

// Enter admits one look-up, once fewer than Concurrent are under way. The caller must
// call leave when it is over, with whether it found something or could not tell.
// Errors: *BusyError if too many have found nothing; the error of ctx.
func (g *Gate) Enter(ctx context.Context) (leave func(found bool), err error) {
	if err := g.take(); err != nil {
		return nil, err
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		g.giveBack()
		return nil, ctx.Err()
	}
	return func(found bool) {
		<-g.slots
		if found {
			g.giveBack()
		}
	}, nil
}

func (g *Gate) take() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.cfg.Now()
	if passed := now.Sub(g.at); passed > 0 {
		g.tokens, g.at = min(g.tokens+passed.Seconds()*float64(g.cfg.Rate), float64(g.cfg.Burst)), now
	}
	if g.tokens < 1 {
		return &BusyError{time.Duration((1 - g.tokens) / float64(g.cfg.Rate) * float64(time.Second))}
	}
	g.tokens--
	return nil
}

func (g *Gate) giveBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = min(g.tokens+1, float64(g.cfg.Burst))
}
