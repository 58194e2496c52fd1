package signing

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// evidence collects the signatures of each key since the last flush. A crash loses at
// most the signatures of one flush interval, so a missing record proves nothing.
type evidence struct {
	mu       sync.Mutex
	pending  map[keyName]keyUse
	flushing []*map[keyName]keyUse // being written to the database
}

type keyName struct {
	tenantID uuid.UUID
	kid      string
}

// keyUse sums up the signatures of one key.
type keyUse struct {
	at      time.Time
	expires time.Time // the latest exp; zero: none
	count   int64
}

// add records one signature.
func (e *evidence) add(name keyName, at, expires time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending == nil {
		e.pending = map[keyName]keyUse{}
	}
	s := e.pending[name]
	s.at, s.expires, s.count = keys.Later(s.at, at), keys.Later(s.expires, expires), s.count+1
	e.pending[name] = s
}

// lastUse returns the recorded use of one key, including a flush in progress.
func (e *evidence) lastUse(name keyName) keyUse {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.pending[name]
	for _, uses := range e.flushing {
		s.at, s.expires = keys.Later(s.at, (*uses)[name].at), keys.Later(s.expires, (*uses)[name].expires)
	}
	return s
}

// keys returns how many keys have signatures that are not in the database yet.
func (e *evidence) keys() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.pending)
	for _, uses := range e.flushing {
		n += len(*uses)
	}
	return n
}

// startFlush removes and returns the recorded signatures. Call done once they are in the
// database or restored.
func (e *evidence) startFlush() (uses map[keyName]keyUse, done func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	uses, e.pending = e.pending, nil
	if len(uses) == 0 {
		return nil, func() {}
	}
	e.flushing = append(e.flushing, &uses)
	return uses, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.flushing = slices.DeleteFunc(e.flushing, func(m *map[keyName]keyUse) bool { return m == &uses })
	}
}

// restore records signatures again that could not be written.
func (e *evidence) restore(uses map[keyName]keyUse) {
	for name, s := range uses {
		e.add(name, s.at, s.expires)
	}
}

// flush writes the recorded signatures, in the order of the table's primary key. Those
// of keys that a change has locked are restored, for the next flush.
func (e *evidence) flush(ctx context.Context, d *db.DB) error {
	uses, done := e.startFlush()
	if len(uses) == 0 {
		return nil
	}
	defer done()
	var p db.RecordSignaturesParams
	for _, name := range slices.SortedFunc(maps.Keys(uses), keyName.compare) {
		s := uses[name]
		p.TenantIds, p.Kids = append(p.TenantIds, name.tenantID), append(p.Kids, name.kid)
		p.SignedAts, p.TokenExpiresAts = append(p.SignedAts, s.at), append(p.TokenExpiresAts, db.OrEpoch(&s.expires))
	}
	recorded, err := d.RecordSignatures(ctx, p)
	left := maps.Clone(uses)
	for _, row := range recorded {
		delete(left, keyName{row.TenantID, row.KID})
	}
	e.restore(left)
	return err
}

func (n keyName) compare(o keyName) int {
	return cmp.Or(slices.Compare(n.tenantID[:], o.tenantID[:]), cmp.Compare(n.kid, o.kid))
}

// RecentUse is the use of a key that is not yet in the database.
type RecentUse struct {
	SignedAt       time.Time // of the last signature; zero: none
	TokenExpiresAt time.Time // the latest exp; zero: none
}

// RecentUse returns this process's use of a key since the last flush.
func (s *Signer) RecentUse(tenantID uuid.UUID, kid string) RecentUse {
	use := s.evidence.lastUse(keyName{tenantID, kid})
	return RecentUse{SignedAt: use.at, TokenExpiresAt: use.expires}
}

// AddTo merges the recent use into a key read from the database.
func (use RecentUse) AddTo(k *keys.Key) {
	k.LastSignedAt = laterTime(k.LastSignedAt, use.SignedAt)
	k.LastTokenExpiresAt = laterTime(k.LastTokenExpiresAt, use.TokenExpiresAt)
}

func laterTime(t *time.Time, u time.Time) *time.Time {
	if u.IsZero() || t != nil && t.After(u) {
		return t
	}
	return &u
}

// UnwrittenEvidence returns how many keys have signatures that are not in the database
// yet: it grows while flushes fail.
func (s *Signer) UnwrittenEvidence() int { return s.evidence.keys() }
