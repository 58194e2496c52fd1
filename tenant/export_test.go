package tenant

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/age"
)

// Kept counts the credentials in memory.
func (s *Store) Kept() int {
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	return len(s.credentials.entries)
}

// Cached bounds them.
const Cached = maxCacheEntries

// Flood keeps n made-up credentials.
func (s *Store) Flood(n int) {
	for range n {
		id := uuid.New()
		read := s.credentials.begin()
		read.keep(id, credential{}, id, age.Read(s.now))
		read.end()
	}
}

// ReadDuring reads a credential while change runs, and says whether it is
// kept.
func (s *Store) ReadDuring(key, home uuid.UUID, change func()) bool {
	read := s.credentials.begin()
	defer read.end()
	change()
	return read.keep(key, credential{}, home, age.Read(s.now))
}

// ReadList reads a page of tenants through q.
func ReadList(ctx context.Context, q *db.Queries, f ListFilter) ([]uuid.UUID, error) {
	after, err := ParsePosition(f.Cursor)
	if err != nil {
		return nil, err
	}
	rows, _, err := readTenants(ctx, q, f, after, time.Now())
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, err
}

// WalkAtMost sets how many tenants a page of a list looks at until the test ends.
func WalkAtMost(t testing.TB, n int32) {
	before := maxWalk
	maxWalk = n
	t.Cleanup(func() { maxWalk = before })
}

// CursorAt is the cursor of a list that goes on behind a time.
func CursorAt(at time.Time) string { return Position{at, uuid.UUID{}}.Cursor() }

// FoldCase is how a text is written that a search looks for.
var FoldCase = foldCase
