package keys

import (
	"slices"
	"time"
)

// traffic signs and verifies at some instants before until, while the keys
// stay as they are.
func (w *world) traffic(until time.Time) {
	gap := until.Sub(w.now)
	if gap <= 0 {
		return
	}
	instants := []time.Time{w.now, w.now.Add(min(gap, w.duration(0, PublishTail))), w.now.Add(min(gap, w.prop) / 2), until.Add(-min(gap, time.Second))}
	for range 2 {
		instants = append(instants, w.now.Add(time.Duration(w.Int64N(int64(gap)))))
	}
	slices.SortFunc(instants, time.Time.Compare)
	for _, at := range instants {
		w.sign(at)
		for _, v := range w.verifiers {
			w.verify(v, at)
		}
	}
}

// sign keeps the newest tokens, some of the longest lifetime.
func (w *world) sign(at time.Time) {
	k := w.find(Active)
	if k == nil {
		return
	}
	ttl := w.s.MaxTokenTTL
	if w.IntN(2) == 0 {
		ttl = w.duration(time.Second, w.s.MaxTokenTTL)
	}
	w.tokens = append(w.tokens, token{k.KID, at.Add(ttl)})
	if len(w.tokens) > 12 {
		w.tokens = slices.Delete(w.tokens, 0, 1)
	}
}

// verify checks every living token: its key must be in the set the verifier
// goes by, unless it was revoked or somebody let it sign unseen.
func (w *world) verify(v *verifier, at time.Time) {
	if !at.Before(v.until) {
		v.fetch(w, at)
	}
	for _, tok := range w.tokens {
		if !at.Before(tok.exp.Add(w.s.ClockSkew)) || !w.seen[tok.kid] || w.revokedKey(tok.kid) {
			continue
		}
		w.Verified++
		if !v.set[tok.kid] {
			w.Errorf("%v: a verifier does not know %s, whose token lives until %v", at, tok.kid, tok.exp)
		}
	}
}

// fetch reads the set, at times from a replica that has not heard of the latest change: a
// key appears there up to PublishTail after its published_at. A lead contains that as long
// as the skew that verifiers do not use is as much.
func (v *verifier) fetch(w *world, at time.Time) {
	slow := time.Duration(v.slow * float64(w.s.ClockSkew))
	known := at.Add(-w.duration(0, min(PublishTail, w.s.ClockSkew-slow)))
	v.set = map[string]bool{}
	for _, k := range w.keys {
		v.set[k.KID] = k.State.Published() && !k.PublishedAt.After(known)
	}
	prop := w.prop
	if known.Before(w.cachingSince) {
		prop = w.propBefore
	}
	v.until = at.Add(prop + slow)
}

// revokedKey reports whether the key was revoked, purged since or not.
func (w *world) revokedKey(kid string) bool {
	for _, k := range w.keys {
		if k.KID == kid {
			return k.State == Revoked
		}
	}
	return w.purgedRevoked[kid]
}
