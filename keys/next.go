package keys

import "time"

// NextTransition is when the schedule, as seen at now, will change the state of
// k, if nobody acts before; nil if never. all are the keys of its policy, k among them. For
// a deprecated key it looks one rotation ahead: later ones may crowd the key
// out earlier than said.
func NextTransition(now time.Time, s Schedule, k Key, all []Key) *time.Time {
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
		if order < 0 || order == 0 && CompareDeprecation(other, k) < 0 {
			before++
		}
	}
	return before
}
