package webhook

import (
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	patience     = 24 * time.Hour     // for how long a delivery is tried
	maxAttempts  = 15                 // in that time
	firstPause   = 10 * time.Second   // after the first attempt; each is twice the one before
	longestPause = 6 * time.Hour      // also of a Retry-After
	longestRest  = 5 * time.Minute    // of a webhook that cannot be reached
	giveUpAfter  = 3 * 24 * time.Hour // of nothing but failures, a webhook is disabled
)

// answer is what came of a request.
type answer struct {
	status     int    // of HTTP; 0: none came
	class      string // of the error, in the words of the API; empty: it was taken
	retryAfter time.Duration
}

// verdict is what follows from an answer.
type verdict struct {
	answer       answer
	outcome      int
	status       DeliveryStatus
	dueAt        *time.Time
	deliveredAt  *time.Time
	failures     int // of the webhook, in a row
	failingSince *time.Time
	rest         time.Duration // of the webhook
	disable      Reason        // empty: it stays
}

// judge decides about a delivery and its webhook. now is after the answer.
func judge(a answer, c claim, d due, now time.Time) verdict {
	if a.class == "" {
		return verdict{answer: a, outcome: outcomeDelivered, status: Delivered, deliveredAt: &now}
	}
	v := verdict{answer: a, outcome: outcomeRetried, status: Pending, failures: c.failures + 1, failingSince: c.failingSince}
	if v.failingSince == nil {
		v.failingSince = &now
	}
	pause := max(backoff(d.attempts), min(a.retryAfter, longestPause))
	if next := now.Add(pause); d.attempts+1 < maxAttempts && next.Sub(d.askedAt) <= patience && a.status != http.StatusGone {
		v.dueAt = &next
	} else {
		v.outcome, v.status = outcomeFailed, Failed
	}
	if a.status == 0 || a.retryAfter > 0 { // nobody there, or not now: neither for the others
		v.rest = max(min(backoff(c.failures), longestRest), min(a.retryAfter, longestPause))
	}
	switch {
	case a.status == http.StatusGone:
		v.disable = Gone
	case v.failures >= maxAttempts && now.Sub(*v.failingSince) >= giveUpAfter:
		v.disable = Failing
	}
	return v
}

// backoff is the pause after some failures before this one, up to a fifth
// shorter by chance, so that what failed together does not come back together.
func backoff(before int) time.Duration {
	pause := longestPause
	if before < 12 { // 10 s · 2¹² is longer than 6 h
		pause = min(firstPause<<max(before, 0), longestPause)
	}
	return pause - time.Duration(rand.Int64N(int64(pause)/5))
}
