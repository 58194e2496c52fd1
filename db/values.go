package db

import (
	"context"
	"time"
)

// Epoch stands for NULL in arrays of times, see queries/.
var Epoch = time.Unix(0, 0).UTC()

// OrEpoch returns the time, or [Epoch] for nil and for the zero time.
func OrEpoch(t *time.Time) time.Time {
	if t == nil || t.IsZero() {
		return Epoch
	}
	return *t
}

// NullIfZero returns nil, which is stored as NULL, for a zero value, else a
// pointer to v.
func NullIfZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// ZeroIfNull returns the value that p points to, or the zero value for nil.
func ZeroIfNull[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// UTC returns a stored time in UTC, or nil for NULL.
func UTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// Pause waits for a duration, or returns ctx's error if ctx ends before.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
