package jwks

import "time"

// A budget is a token bucket with perMinute tokens, refilled within a minute. It
// is not safe for concurrent use. A nil budget allows everything.
type budget struct {
	perMinute float64
	left      float64
	at        instant // of the last refill; zero before the first
}

func newBudget(perMinute int) *budget {
	return &budget{perMinute: float64(perMinute), left: float64(perMinute)}
}

// untilNext returns how long it takes until a token can be taken; 0 means now.
func (b *budget) untilNext(now instant) time.Duration {
	if b == nil {
		return 0
	}
	if b.at != (instant{}) {
		elapsed, _ := b.at.elapsed(now)
		b.left = min(b.perMinute, b.left+elapsed.Minutes()*b.perMinute)
	}
	b.at = now
	if b.left >= 1 {
		return 0
	}
	return time.Duration((1 - b.left) / b.perMinute * float64(time.Minute))
}

// take takes a token. Call it only after untilNext has returned 0.
func (b *budget) take() {
	if b != nil {
		b.left--
	}
}
