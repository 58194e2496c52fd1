package keys

import (
	"slices"
	"time"
)

// line is the keys of one policy, sorted out by what they wait for. The
// methods of [Plan] take their steps on it as they name them, so that what is
// due next is asked of the keys as they will be.
type line struct {
	Schedule
	now             time.Time
	active, standby *Key
	deprecated      []Key // oldest first
	gone            []Key // expired or revoked, not purged
}

func newLine(now time.Time, s Schedule, keys []Key) *line {
	l := &line{Schedule: s, now: now}
	for _, k := range keys {
		switch k.State {
		case Active:
			l.active = &k
		case Standby:
			l.standby = &k
		case Deprecated:
			l.deprecated = append(l.deprecated, k)
		case Expired, Revoked:
			l.gone = append(l.gone, k)
		}
	}
	slices.SortFunc(l.deprecated, Key.CompareDeprecation)
	return l
}

// expire lets deprecated keys go whose time is up and then, oldest first,
// those that crowd the JWKS and have no living token.
func (l *line) expire(now time.Time) []Step {
	steps := l.leave(now, func(k Key) bool { return reached(now, expiry(l.Schedule, k)) })
	crowd := l.surplus()
	if l.active != nil && reached(now, l.promotionDue()) {
		crowd++
	}
	return append(steps, l.leave(now, func(k Key) bool {
		early := crowd > 0 && reached(now, safe(l.Schedule, k))
		if early {
			crowd--
		}
		return early
	})...)
}

// leave takes the deprecated keys out of the JWKS that should go.
func (l *line) leave(now time.Time, should func(Key) bool) (steps []Step) {
	l.deprecated = slices.DeleteFunc(l.deprecated, func(k Key) bool {
		if !should(k) {
			return false
		}
		k.State, k.ExpiredAt = Expired, &now
		l.gone = append(l.gone, k)
		steps = append(steps, Step{Expire, k.KID})
		return true
	})
	return steps
}

func (l *line) purge(now time.Time) (steps []Step) {
	l.gone = slices.DeleteFunc(l.gone, func(k Key) bool {
		due := reached(now, purgeAt(l.Schedule, k))
		if due {
			steps = append(steps, Step{Purge, k.KID})
		}
		return due
	})
	return steps
}

// promote takes what room expire has made.
func (l *line) promote(now time.Time) []Step {
	if !reached(now, l.promotionDue()) {
		return nil
	}
	if k := l.active; k != nil {
		at := l.Schedule.ExpiresAt(now, *k)
		k.State, k.DeprecatedAt, k.ExpiresAt = Deprecated, &now, &at
		l.deprecated = append(l.deprecated, *k)
	}
	l.active, l.standby = l.standby, nil
	l.active.State, l.active.ActivatedAt = Active, &now
	return []Step{{Promote, l.active.KID}}
}

func (l *line) replenish(now time.Time) []Step {
	if l.standby != nil || l.RetiredAt != nil {
		return nil
	}
	l.standby = &Key{State: Standby, PublishedAt: now}
	return []Step{{Kind: CreateStandby}}
}

// next is when the first of all these has something to do again.
func (l *line) next() time.Time {
	times := []time.Time{l.promotionDue()}
	for _, k := range l.deprecated {
		times = append(times, expiry(l.Schedule, k))
		if l.surplus() > 0 {
			times = append(times, safe(l.Schedule, k))
		}
	}
	for _, k := range l.gone {
		times = append(times, purgeAt(l.Schedule, k))
	}
	return soonest(times...)
}

// surplus is by how many keys the JWKS is over max_published_keys, an active
// and a standby key always counted. It is negative where there is room. A
// retired policy only runs out, it needs no room.
func (l *line) surplus() int {
	if l.RetiredAt != nil {
		return -len(l.deprecated)
	}
	return len(l.deprecated) + 2 - l.MaxPublishedKeys
}

// promotionDue is when the standby becomes active; zero: not by the schedule.
func (l *line) promotionDue() time.Time {
	if l.standby == nil || l.RetiredAt != nil {
		return time.Time{}
	}
	ready := Later(l.standby.PublishedAt.Add(l.PublishLead), l.HoldUntil)
	if l.active == nil {
		return l.thawed(ready)
	}
	room, ever := l.roomAt()
	if l.RotationInterval == 0 || !ever {
		return time.Time{}
	}
	due := l.active.ActivatedAt.Add(l.RotationInterval + l.Jitter)
	return l.thawed(Later(Later(due, ready), room))
}

// thawed is when what is due may be done: not inside a freeze window, be it one
// that began after the due time, while nobody got to it.
func (l *line) thawed(due time.Time) time.Time {
	at := l.thaw(due)
	if until := l.thaw(l.now); until.After(l.now) {
		return Later(at, until)
	}
	return at
}

// thaw puts a moment inside a freeze window off to the first one outside of
// all. The windows are in the order of their starts, so that one pass does.
func (l *line) thaw(at time.Time) time.Time {
	for _, f := range l.Freezes {
		if f.Holds(at) {
			at = f.Until
		}
	}
	return at
}

// roomAt is when enough deprecated keys can have left for one more to come.
// There is no such time where max_published_keys is below three.
func (l *line) roomAt() (at time.Time, ever bool) {
	excess := l.surplus() + 1
	if excess <= 0 {
		return time.Time{}, true
	}
	if excess > len(l.deprecated) {
		return time.Time{}, false
	}
	return l.leaving()[excess-1], true
}

// leaving lists when each deprecated key can leave at the earliest, in order.
func (l *line) leaving() []time.Time {
	times := make([]time.Time, len(l.deprecated))
	for i, k := range l.deprecated {
		times[i] = safe(l.Schedule, k)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// reached reports whether a due time has come; a zero one never does.
func reached(now, due time.Time) bool { return !due.IsZero() && !now.Before(due) }

// Surplus is by how many keys the JWKS of a policy is over max_published_keys, an
// active and a standby key always counted; negative where there is room.
func (s Schedule) Surplus(now time.Time, keys []Key) int { return newLine(now, s, keys).surplus() }

// NextTransition is when the schedule, as seen at now, will change the state of
// k, if nobody acts before; nil if never. all are the keys of its policy, k among them. For
// a deprecated key it looks one rotation ahead: later ones may crowd the key
// out earlier than said.
func (s Schedule) NextTransition(now time.Time, k Key, all []Key) *time.Time {
	l := newLine(now, s, all)
	var at time.Time
	switch k.State {
	case Standby, Active: // the same moment for both
		at = l.promotionDue()
	case Deprecated:
		at = l.leavesAt(k)
	case Expired, Revoked:
		at = purgeAt(s, k)
	}
	if at.IsZero() {
		return nil
	}
	return &at
}

// leavesAt is when a deprecated key expires: its own time, or before that if
// it is among those that must make room now or at the next promotion.
func (l *line) leavesAt(k Key) time.Time {
	ownTime, free := expiry(l.Schedule, k), safe(l.Schedule, k)
	rank := l.rank(k)
	if rank < l.surplus() {
		return earlier(ownTime, free)
	}
	if due := l.promotionDue(); rank <= l.surplus() && !due.IsZero() && l.active != nil {
		return earlier(ownTime, Later(due, free))
	}
	return ownTime
}

// rank is how many deprecated keys go before k when room is needed.
func (l *line) rank(k Key) int {
	before := 0
	for _, other := range l.deprecated {
		order := safe(l.Schedule, other).Compare(safe(l.Schedule, k))
		if order < 0 || order == 0 && other.CompareDeprecation(k) < 0 {
			before++
		}
	}
	return before
}
