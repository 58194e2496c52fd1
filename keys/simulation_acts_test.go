package keys

import (
	"slices"
	"time"

	"github.com/keyward/keyward/tenant"
)

// take does to the model what the store does to the rows for one step.
func (w *world) take(step Step) {
	switch step.Kind {
	case CreateStandby:
		if step.KID != "" {
			w.Errorf("a new standby has the kid %q", step.KID)
		}
		w.create(Standby)
	case Promote:
		w.promoteBySchedule(step.KID)
	case Expire:
		w.expire(w.key(step.KID))
	case Purge:
		k := w.key(step.KID)
		if w.now.Before(purgeAt(w.s, *k)) {
			w.Errorf("%v: %s purged too early", w.now, k.KID)
		}
		w.purgedRevoked[k.KID] = k.State == Revoked
		w.move(k, Purged)
		w.keys = slices.DeleteFunc(w.keys, func(k Key) bool { return k.State == Purged })
	default:
		w.Errorf("unknown step %q", step.Kind)
	}
}

func (w *world) create(s State) *Key {
	now := w.now
	w.keys = append(w.keys, Key{KID: w.newKID(), Origin: Generated, PublishedAt: now})
	k := &w.keys[len(w.keys)-1]
	w.move(k, s)
	return k
}

func (w *world) move(k *Key, to State) {
	if !CanMove(k.State, to) {
		w.Errorf("%v: %v", w.now, &StateError{k.KID, k.State, to})
	}
	if k.State == Active {
		w.stopSigning(k)
	}
	now := w.now
	k.State = to
	switch to {
	case Active:
		k.ActivatedAt = &now
		w.seen[k.KID] = now.Sub(k.PublishedAt) >= w.prop+w.s.ClockSkew && !now.Before(w.s.HoldUntil)
	case Deprecated:
		at := w.s.ExpiresAt(now, *k)
		k.DeprecatedAt, k.ExpiresAt = &now, &at
		if k.ActivatedAt != nil { // as the store does
			w.hold(k, w.s.TokenHorizon(now))
		}
	case Expired:
		k.ExpiredAt = &now
	case Revoked:
		k.RevokedAt = &now
	}
}

// stopSigning signs the last token: of the longest lifetime, by a replica that hears
// nothing for 10 s and whose clock is 2 s fast, when the change that ends the key, or
// the lifetime, commits 5 s after its time.
func (w *world) stopSigning(k *Key) {
	signed := w.now.Add(5*time.Second + 10*time.Second + 2*time.Second)
	w.lastToken[k.KID] = Later(w.lastToken[k.KID], signed.Add(w.s.MaxTokenTTL))
	w.tokens = append(w.tokens, token{k.KID, signed.Add(w.s.MaxTokenTTL)})
}

func (w *world) promoteBySchedule(kid string) {
	k := w.key(kid)
	if lead := w.now.Sub(k.PublishedAt); lead < w.s.PublishLead {
		w.Errorf("%v: %s promoted after %v, the lead is %v", w.now, kid, lead, w.s.PublishLead)
	}
	if old := w.find(Active); old == nil || w.now.Before(old.ActivatedAt.Add(w.s.RotationInterval)) || w.s.RotationInterval == 0 {
		w.Errorf("%v: %s promoted before its time", w.now, kid)
	}
	for _, f := range w.s.Freezes {
		if f.Holds(w.now) {
			w.Errorf("%v: %s promoted inside the freeze %+v", w.now, kid, f)
		}
		if w.now.Equal(f.Until) { // at the very end: it was due before
			w.Thawed++
		}
	}
	w.rotate()
	w.Promoted++
	if !w.seen[kid] {
		w.Errorf("%v: %s was promoted unseen", w.now, kid)
	}
}

func (w *world) expire(k *Key) {
	early := w.now.Before(*k.ExpiresAt)
	last := w.lastToken[k.KID].Add(w.s.ClockSkew)
	if w.now.Before(last) {
		w.Errorf("%v: %s expired (early: %v), a token may live until %v", w.now, k.KID, early, last)
	}
	if early {
		w.Early++
	}
	w.move(k, Expired)
}

// rotate retires before it activates, as the unique indexes demand.
func (w *world) rotate() {
	if k := w.find(Active); k != nil {
		w.move(k, Deprecated)
	}
	if k := w.find(Standby); k != nil {
		w.move(k, Active)
		return
	}
	w.create(Active)
}

func (w *world) firstKeys() {
	w.create(Active)
	w.create(Standby)
}

// act is what people do, between two ticks of the worker.
func (w *world) act() {
	before := w.published()
	if w.s.RetiredAt != nil {
		w.s.RetiredAt = nil
		w.firstKeys()
	} else {
		acts := []func(){
			w.rotate, w.rotate,
			func() { w.revokeActive(false) },
			func() { w.revokeActive(true) },
			func() { w.revoke(Standby) },
			func() { w.revoke(Deprecated) },
			w.changePolicy, w.changePolicy, w.changeCaching, w.changeFreezes, w.importPublic, w.retire,
		}
		acts[w.IntN(len(acts))]()
	}
	w.excuse = max(w.excuse, before, w.published()+1) // one more: the standby that follows
	w.invariants()
}

func (w *world) revokeActive(fresh bool) {
	w.move(w.find(Active), Revoked)
	if k := w.find(Standby); k != nil && !fresh {
		w.move(k, Active)
		return
	}
	w.create(Active)
}

func (w *world) revoke(s State) {
	if k := w.find(s); k != nil {
		w.move(k, Revoked)
	}
}

func (w *world) retire() {
	now := w.now
	w.s.RetiredAt = &now
	w.move(w.find(Active), Deprecated)
	w.revoke(Standby)
}

// changePolicy draws a new one. Where it shortens the token lifetime, keys get
// a horizon: tokens of the longer one are out there.
func (w *world) changePolicy() {
	w.stopSigning(w.find(Active))
	old := w.s
	w.randomPolicy()
	if w.s.MaxTokenTTL < old.MaxTokenTTL {
		w.hold(w.find(Active), old.TokenHorizon(w.now))
	}
}

func (w *world) hold(k *Key, until time.Time) {
	if k.TokenHorizon != nil {
		until = Later(until, *k.TokenHorizon)
	}
	k.TokenHorizon = &until
}

// changeCaching draws a new max-age; caches filled before keep to the old one.
func (w *world) changeCaching() {
	w.s.HoldUntil = Later(w.s.HoldUntil, w.now.Add(w.prop+w.s.ClockSkew))
	w.propBefore, w.cachingSince = w.prop, w.now
	w.prop = w.duration(time.Second, 2*hour)
	w.s.PublishLead = max(w.prop+w.s.ClockSkew, min(w.s.PublishLead, w.s.RotationInterval))
	if w.s.RotationInterval > 0 {
		w.s.RotationInterval = max(w.s.RotationInterval, w.s.PublishLead)
	}
}

// changeFreezes draws windows of up to 90 days, some of them overlapping, with
// some in force and some to come.
func (w *world) changeFreezes() {
	w.s.Freezes = nil
	for range w.IntN(5) {
		from := w.now.Add(w.duration(0, 400*day) - 20*day)
		w.s.Freezes = append(w.s.Freezes, tenant.Freeze{From: from, Until: from.Add(w.duration(time.Second, 90*day))})
	}
	slices.SortFunc(w.s.Freezes, func(a, b tenant.Freeze) int { return a.From.Compare(b.From) })
}

func (w *world) importPublic() {
	k := w.create(Deprecated)
	end := w.now.Add(w.duration(hour, 100*day))
	k.Origin, k.ExpiresAt = Imported, &end
	w.lastToken[k.KID] = end.Add(-w.s.ClockSkew)
}
