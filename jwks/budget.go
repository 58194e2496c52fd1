package jwks

import "time"

// A budget is a token bucket: so many a minute, that many at once. It is not
// safe for concurrent use. A nil one allows all.
type budget struct {
	perMinute float64
	left      float64
	at        time.Time
}

func newBudget(perMinute int) *budget {
	return &budget{perMinute: float64(perMinute), left: float64(perMinute)}
}

// wait says how long until one can be taken; 0 if now.
func (b *budget) wait(now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	if passed := now.Sub(b.at); !b.at.IsZero() && passed > 0 {
		b.left = min(b.perMinute, b.left+passed.Minutes()*b.perMinute)
	}
	b.at = now
	if b.left >= 1 {
		return 0
	}
	return time.Duration((1 - b.left) / b.perMinute * float64(time.Minute))
}

// take takes one, after wait has said 0.
func (b *budget) take() {
	if b != nil {
		b.left--
	}
}
