package db

import "time"

// NullIfZero returns nil, which is stored as NULL, for a zero value, else a
// pointer to v.
func NullIfZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// ZeroIfNull returns what p points to, or the zero value for nil.
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
