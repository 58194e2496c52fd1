package webhook

import (
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	patience     = 24 * time.Hour     // a delivery is retried for this long
	maxAttempts  = 15                 // of a delivery
	firstPause   = 10 * time.Second   // after the first attempt; doubles each time
	longestPause = 6 * time.Hour      // also of a Retry-After
	longestRest  = 5 * time.Minute    // pause of a webhook whose receiver is unreachable
	giveUpAfter  = 3 * 24 * time.Hour // of failures only, the webhook is disabled
)

// answer is the result of a request.
type answer struct {
	status     int    // of HTTP; 0: no response
	class      string // of the error, as in the API; empty: accepted
	cause      string // of a request without response, for the operator's log alone
	retryAfter time.Duration
}

// verdict is the consequence of an answer for the delivery and its webhook.
type verdict struct {
	answer       answer
	outcome      int
	status       DeliveryStatus
	dueAt        *time.Time
	deliveredAt  *time.Time
	failures     int // of the webhook, in a row
	failingSince *time.Time
	pause        time.Duration // of the webhook
	disable      Reason        // empty: the webhook stays active
}

// judgeAnswer decides about a delivery and its webhook. now is the time of the
// answer.
func judgeAnswer(a answer, c claim, d dueDelivery, now time.Time) verdict {
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
	if a.status == 0 || a.retryAfter > 0 { // unreachable or busy, also for the other deliveries
		v.pause = max(min(backoff(c.failures), longestRest), min(a.retryAfter, longestPause))
	}
	switch {
	case a.status == http.StatusGone:
		v.disable = Gone
	case v.failures >= maxAttempts && now.Sub(*v.failingSince) >= giveUpAfter:
		v.disable = Failing
	}
	return v
}

// backoff returns the pause after a failure with the given number of failures before
// it. It is up to a fifth shorter at random, so that deliveries that failed together
// are not retried together.
func backoff(before int) time.Duration {
	pause := longestPause
	if before < 12 { // 10 s · 2¹² is longer than 6 h
		pause = min(firstPause<<max(before, 0), longestPause)
	}
	return pause - time.Duration(rand.Int64N(int64(pause)/5)) // #nosec G404 -- jitter
}
