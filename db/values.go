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

// UTC returns a nullable time as it is kept in memory: in UTC, nil for NULL.
func UTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// Text returns a nullable text, empty for NULL.
func Text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
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
