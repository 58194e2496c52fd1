package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// span is a duration in Go's form, or in whole days as in 30d. The API counts
// whole seconds.
type span time.Duration

var errSpan = errors.New("must be a duration of whole seconds, as in 90s, 12h or 30d")

// UnmarshalText parses a duration.
func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if days, is := strings.CutSuffix(string(text), "d"); is {
		n, bad := strconv.ParseUint(days, 10, 16)
		d, err = time.Duration(n)*24*time.Hour, bad
	}
	if err != nil || d < 0 || d%time.Second != 0 {
		return errSpan
	}
	*s = span(d)
	return nil
}

// seconds returns the API's value; nil for a nil span.
func (s *span) seconds() *int64 {
	if s == nil {
		return nil
	}
	return new(int64(time.Duration(*s) / time.Second))
}

// formatSeconds formats a number of seconds in the largest unit that divides
// it.
func formatSeconds(n int64) string {
	switch {
	case n != 0 && n%86400 == 0:
		return strconv.FormatInt(n/86400, 10) + "d"
	case n != 0 && n%3600 == 0:
		return strconv.FormatInt(n/3600, 10) + "h"
	case n != 0 && n%60 == 0:
		return strconv.FormatInt(n/60, 10) + "m"
	}
	return strconv.FormatInt(n, 10) + "s"
}

// moment is a time in RFC 3339, a day, or an age, as in 24h.
type moment time.Time

// UnmarshalText parses a time.
func (m *moment) UnmarshalText(text []byte) error {
	var ago span
	if ago.UnmarshalText(text) == nil {
		*m = moment(utcNow().Add(-time.Duration(ago)))
		return nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, string(text)); err == nil {
			*m = moment(t)
			return nil
		}
	}
	return errors.New("must be a time in RFC 3339, a day as in 2026-11-24, or how long ago, as in 24h")
}

// time returns the API's value; nil for a nil moment.
func (m *moment) time() *time.Time {
	if m == nil {
		return nil
	}
	return new(time.Time(*m))
}
