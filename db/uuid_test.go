package db_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Ids arrive as they were sent: alone, in arrays, by pointer, absent, and where
// a text is wanted.
func TestUUIDsAsParameters(t *testing.T) {
	d := open(t, 2)
	err := d.AsPlatform(t.Context(), func(tx *db.Tx) error {
		var id uuid.UUID
		var ids []uuid.UUID
		var absent *uuid.UUID
		var text string
		err := tx.Raw().QueryRow(t.Context(), "SELECT $1::uuid, $2::uuid[], $3::uuid, $4::text", &a, []uuid.UUID{b, a}, (*uuid.UUID)(nil), b).
			Scan(&id, &ids, &absent, &text)
		if id != a || !slices.Equal(ids, []uuid.UUID{b, a}) || absent != nil || text != b.String() {
			t.Errorf("%v, %v, %v, %q", id, ids, absent, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
