package audit

import (
	"context"

	"github.com/keyward/keyward/db"
)

// Digest lets tests forge events that hash right.
var Digest = eventHash

// ReadPage reads the page that the filter's cursor leads to, through q.
func ReadPage(ctx context.Context, q *db.Queries, f Filter) ([]Event, error) {
	f = f.bounded()
	p, err := f.position()
	if err != nil {
		return nil, err
	}
	return readPage(ctx, &db.Tx{Queries: q}, f, p)
}

// CursorBehind returns the cursor that a page of the filter's list would end with.
func CursorBehind(f Filter, e Event) string { return f.bounded().cursor(positionAfter(e)) }

// Unindexed is the last event that the indexes for filters leave out.
const Unindexed = unindexed
