package signing

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// evidence is what was signed with which key since it was last written down.
// A crash loses at most what one interval between two flushes gathered, so
// nothing is ever concluded from what it does not say.
type evidence struct {
	mu      sync.Mutex
	seen    map[keyName]signed
	writing []*map[keyName]signed // taken, and on their way into the database
}

type keyName struct {
	tenantID uuid.UUID
	kid      string
}

type signed struct {
	at      time.Time
	expires time.Time // the latest exp; zero: nothing with one
	count   int64
}

// add remembers one signature.
func (e *evidence) add(name keyName, at, expires time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = map[keyName]signed{}
	}
	s := e.seen[name]
	s.at, s.expires, s.count = keys.Later(s.at, at), keys.Later(s.expires, expires), s.count+1
	e.seen[name] = s
}

// of is what is remembered of one key, or is being written down.
func (e *evidence) of(name keyName) signed {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.seen[name]
	for _, seen := range e.writing {
		s.at, s.expires = keys.Later(s.at, (*seen)[name].at), keys.Later(s.expires, (*seen)[name].expires)
	}
	return s
}

// take gives away what was remembered. written is called when that is in the
// database, or remembered again.
func (e *evidence) take() (seen map[keyName]signed, written func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen, e.seen = e.seen, nil
	if len(seen) == 0 {
		return nil, func() {}
	}
	e.writing = append(e.writing, &seen)
	return seen, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.writing = slices.DeleteFunc(e.writing, func(m *map[keyName]signed) bool { return m == &seen })
	}
}

// giveBack remembers again what could not be written.
func (e *evidence) giveBack(seen map[keyName]signed) {
	for name, s := range seen {
		e.add(name, s.at, s.expires)
	}
}

// flush writes what was remembered in one statement.
func (e *evidence) flush(ctx context.Context, d *db.DB) error {
	seen, written := e.take()
	if len(seen) == 0 {
		return nil
	}
	defer written()
	var p db.RecordSignaturesParams
	for name, s := range seen {
		p.TenantIds, p.Kids = append(p.TenantIds, name.tenantID), append(p.Kids, name.kid)
		p.SignedAts, p.TokenExpiresAts = append(p.SignedAts, s.at), append(p.TokenExpiresAts, db.OrEpoch(&s.expires))
	}
	err := d.AsPlatform(ctx, func(tx *db.Tx) error { return tx.RecordSignatures(ctx, p) })
	if err != nil {
		e.giveBack(seen)
	}
	return err
}

// RecentUse is what was signed with a key lately.
type RecentUse struct {
	SignedAt       time.Time // the last time; zero: never
	TokenExpiresAt time.Time // the latest exp; zero: nothing with one
}

// RecentUse is what this process signed with a key since that was last written
// down.
func (s *Signer) RecentUse(tenantID uuid.UUID, kid string) RecentUse {
	seen := s.evidence.of(keyName{tenantID, kid})
	return RecentUse{SignedAt: seen.at, TokenExpiresAt: seen.expires}
}

// AddTo adds what was signed lately to what is written down of a key.
func (use RecentUse) AddTo(k *keys.Key) {
	k.LastSignedAt = laterOf(k.LastSignedAt, use.SignedAt)
	k.LastTokenExpiresAt = laterOf(k.LastTokenExpiresAt, use.TokenExpiresAt)
}

func laterOf(t *time.Time, u time.Time) *time.Time {
	if u.IsZero() || t != nil && t.After(u) {
		return t
	}
	return &u
}
