package publish

import (
	"context"
	"errors"
	"time"

	"github.com/keyward/keyward/db"
)

// Lag says what is not published.
type Lag struct {
	CaughtUpAt  time.Time     // when every change was published or has a row; zero: never
	Unpublished int64         // tenants whose latest state failed, counted up to 10,000
	OldestSince time.Time     // since when the first of them fails; zero: none does
	First       []Unpublished // some of them, the longest first
}

// Unpublished is a tenant whose latest state could not be published.
type Unpublished struct {
	Slug     string
	Since    time.Time
	Failures int32
	Error    string
}

// Age returns for how long the store has lacked a change, as far as is known.
func (l Lag) Age(now time.Time) time.Duration {
	age := time.Duration(0)
	if !l.OldestSince.IsZero() {
		age = now.Sub(l.OldestSince)
	}
	if !l.CaughtUpAt.IsZero() {
		if behind := now.Sub(l.CaughtUpAt); behind > 2*idleInterval { // it is noted only now and then
			age = max(age, behind)
		}
	}
	return max(age, 0)
}

// Lag reads what the store lacks, with the tenants that have lacked it longest; only DB
// and Store are needed. Errors: those of the database.
func (c Config) Lag(ctx context.Context, tenants int) (lag Lag, err error) {
	target := c.Store.Target()
	err = c.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		lag = Lag{}
		place, err := tx.PublishPlace(ctx, target)
		if err != nil && !errors.Is(err, db.ErrNoRows) {
			return err
		}
		if place.CaughtUpAt != nil {
			lag.CaughtUpAt = place.CaughtUpAt.UTC()
		}
		if lag.Unpublished, err = tx.CountUnpublished(ctx, target); err != nil {
			return err
		}
		rows, err := tx.UnpublishedTenants(ctx, target, int32(max(tenants, 1)))
		for _, row := range rows {
			lag.First = append(lag.First, Unpublished{row.Slug, row.FailingSince.UTC(), row.Failures, db.ZeroIfNull(row.Error)})
		}
		if len(rows) > 0 {
			lag.OldestSince = lag.First[0].Since
		}
		return err
	})
	return lag, err
}
