package keys

import (
	"slices"
	"time"
)

// line holds the keys of one policy by state. The steps of [Plan] change it as
// they are listed, so that each step, and the next due time, sees the keys as
// they will be.
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

// expire removes deprecated keys from the JWKS: first those past their expiry,
// then, oldest first, those without a live token, as long as the JWKS has more
// keys than the policy allows.
func (l *line) expire(now time.Time) []Step {
	steps := l.removeDeprecated(now, func(k Key) bool { return isDue(now, expiryOf(l.Schedule, k)) })
	crowd := l.surplus()
	if l.active != nil && isDue(now, l.promotionDue()) {
		crowd++
	}
	return append(steps, l.removeDeprecated(now, func(k Key) bool {
		early := crowd > 0 && isDue(now, safeToRetireAt(l.Schedule, k))
		if early {
			crowd--
		}
		return early
	})...)
}

// removeDeprecated moves the deprecated keys that should leave to expired.
func (l *line) removeDeprecated(now time.Time, should func(Key) bool) (steps []Step) {
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

// purge lists the keys whose public half is due for deletion.
func (l *line) purge(now time.Time) (steps []Step) {
	l.gone = slices.DeleteFunc(l.gone, func(k Key) bool {
		due := isDue(now, purgeAt(l.Schedule, k))
		if due {
			steps = append(steps, Step{Purge, k.KID})
		}
		return due
	})
	return steps
}

// promote activates the standby if that is due. Call it after expire, which
// makes room for the old key.
func (l *line) promote(now time.Time) []Step {
	if !isDue(now, l.promotionDue()) {
		return nil
	}
	if k := l.active; k != nil {
		at := l.Schedule.ExpiresAt(now, *k)
		k.State, k.DeprecatedAt, k.ExpiresAt = Deprecated, &now, &at
		l.deprecated = append(l.deprecated, *k)
	}
	l.active, l.standby, l.Adoption = l.standby, nil, nil
	l.active.State, l.active.ActivatedAt = Active, &now
	return []Step{{Promote, l.active.KID}}
}

// addStandby creates the standby that a live policy lacks.
func (l *line) addStandby(now time.Time) []Step {
	if l.standby != nil || l.RetiredAt != nil {
		return nil
	}
	l.standby = &Key{State: Standby, PublishedAt: now}
	return []Step{{Kind: CreateStandby}}
}

// nextDue returns the next time at which any step is due; zero if none will be.
func (l *line) nextDue() time.Time {
	times := []time.Time{l.promotionDue(), l.adoptionCheck()}
	for _, k := range l.deprecated {
		times = append(times, expiryOf(l.Schedule, k))
		if l.surplus() > 0 {
			times = append(times, safeToRetireAt(l.Schedule, k))
		}
	}
	for _, k := range l.gone {
		times = append(times, purgeAt(l.Schedule, k))
	}
	return earliestOf(times...)
}

// surplus returns the number of keys above max_published_keys, always counting
// an active and a standby key. It is negative if there is room. A retired
// policy needs no room for new keys.
func (l *line) surplus() int {
	if l.RetiredAt != nil {
		return -len(l.deprecated)
	}
	return len(l.deprecated) + 2 - l.MaxPublishedKeys
}

// promotionDue returns when the standby becomes active; zero if the schedule
// does not activate it. For a standby that too few verifiers have fetched this is
// when the wait for them is over.
func (l *line) promotionDue() time.Time {
	at := l.promotionWanted()
	if !at.IsZero() && l.lacksAdoption() {
		at = at.Add(l.MaxAdoptionWait)
	}
	if at.IsZero() {
		return at
	}
	return l.afterFreezes(at)
}

// lacksAdoption reports whether too few verifiers have fetched the standby.
func (l *line) lacksAdoption() bool {
	return l.active != nil && l.standby != nil && l.Adoption != nil && *l.Adoption < l.MinAdoption
}

// adoptionCheck returns when to look again at the adoption that the promotion
// waits for; zero if it does not wait.
func (l *line) adoptionCheck() time.Time {
	wanted := l.promotionWanted()
	if wanted.IsZero() || !l.lacksAdoption() {
		return time.Time{}
	}
	pause := min(max(l.MaxAdoptionWait/16, time.Second), 5*time.Minute)
	at := Later(l.afterFreezes(wanted), l.now.Add(pause))
	return earlierOf(at, l.promotionDue())
}

// promotionWanted is promotionDue without regard to adoption and freezes.
func (l *line) promotionWanted() time.Time {
	if l.standby == nil || l.RetiredAt != nil {
		return time.Time{}
	}
	ready := Later(l.standby.PublishedAt.Add(l.PublishLead), l.HoldUntil)
	if l.active == nil {
		return ready
	}
	room, ever := l.roomAt()
	if l.RotationInterval == 0 || !ever {
		return time.Time{}
	}
	due := l.active.ActivatedAt.Add(l.RotationInterval + l.Jitter)
	return Later(Later(due, ready), room)
}

// afterFreezes moves a due time out of freeze windows. A window that began
// after the due time, before the step was taken, delays it too.
func (l *line) afterFreezes(due time.Time) time.Time {
	at := l.skipFreezes(due)
	if until := l.skipFreezes(l.now); until.After(l.now) {
		return Later(at, until)
	}
	return at
}

// skipFreezes returns the first moment from at on that is outside all freeze
// windows. One pass is enough because they are ordered by start.
func (l *line) skipFreezes(at time.Time) time.Time {
	for _, f := range l.Freezes {
		if f.Holds(at) {
			at = f.Until
		}
	}
	return at
}

// roomAt returns when enough deprecated keys can have left to admit another
// one. ever is false if max_published_keys is below three.
func (l *line) roomAt() (at time.Time, ever bool) {
	excess := l.surplus() + 1
	if excess <= 0 {
		return time.Time{}, true
	}
	if excess > len(l.deprecated) {
		return time.Time{}, false
	}
	return l.departureTimes()[excess-1], true
}

// departureTimes lists the earliest time at which each deprecated key can
// leave, in order.
func (l *line) departureTimes() []time.Time {
	times := make([]time.Time, len(l.deprecated))
	for i, k := range l.deprecated {
		times[i] = safeToRetireAt(l.Schedule, k)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// isDue reports whether a due time has come. The zero time is never due.
func isDue(now, due time.Time) bool { return !due.IsZero() && !now.Before(due) }

// Surplus returns the number of keys of a policy's JWKS above
// max_published_keys, always counting an active and a standby key; negative if
// there is room.
func (s Schedule) Surplus(now time.Time, keys []Key) int { return newLine(now, s, keys).surplus() }

// NextTransition returns when the schedule, as known at now, next changes the
// state of k without manual action; nil if never. all are the keys of its
// policy, including k. For a deprecated key it looks one rotation ahead: later
// rotations may force it out earlier.
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

// leavesAt returns when a deprecated key expires: at its own time, or earlier
// if it must make room now or at the next promotion.
func (l *line) leavesAt(k Key) time.Time {
	ownTime, free := expiryOf(l.Schedule, k), safeToRetireAt(l.Schedule, k)
	rank := l.departureRank(k)
	if rank < l.surplus() {
		return earlierOf(ownTime, free)
	}
	if due := l.promotionDue(); rank <= l.surplus() && !due.IsZero() && l.active != nil {
		return earlierOf(ownTime, Later(due, free))
	}
	return ownTime
}

// departureRank counts the deprecated keys that leave before k when room is
// needed.
func (l *line) departureRank(k Key) int {
	before := 0
	for _, other := range l.deprecated {
		order := safeToRetireAt(l.Schedule, other).Compare(safeToRetireAt(l.Schedule, k))
		if order < 0 || order == 0 && other.CompareDeprecation(k) < 0 {
			before++
		}
	}
	return before
}
