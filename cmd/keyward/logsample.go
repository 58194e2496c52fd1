package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// sampleInterval is how often a line that repeats is written.
const sampleInterval = 30 * time.Second

// maxSampledLines bounds the different messages that are remembered.
const maxSampledLines = 256

// sampler writes the first of several warnings of one kind, and then
// one every sampleInterval, with the number of lines in between as "repeated". An outage
// would otherwise write a line for each request. Errors are written each: every one is the
// only trace of a request that failed for an unknown reason.
type sampler struct {
	slog.Handler
	seen *sampledLines
}

type sampledLines struct {
	now   func() time.Time
	mu    sync.Mutex
	lines map[string]*sampledLine
}

type sampledLine struct {
	at      time.Time // last written
	skipped int64     // since
}

func newSampler(h slog.Handler, now func() time.Time) sampler {
	return sampler{h, &sampledLines{now: now, lines: map[string]*sampledLine{}}}
}

// Handle implements [slog.Handler].
func (s sampler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level != slog.LevelWarn {
		return s.Handler.Handle(ctx, r)
	}
	skipped, write := s.seen.count(lineKey(r))
	if !write {
		return nil
	}
	if skipped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("repeated", skipped))
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (s sampler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sampler{s.Handler.WithAttrs(attrs), s.seen}
}

// WithGroup implements [slog.Handler].
func (s sampler) WithGroup(name string) slog.Handler {
	return sampler{s.Handler.WithGroup(name), s.seen}
}

// lineKey returns what warnings of one kind have in common: message, code and part.
func lineKey(r slog.Record) string {
	key := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "code" || a.Key == "part" {
			key += "\x00" + a.Value.String()
		}
		return true
	})
	return key
}

// count reports whether a line is to be written, and how many were not since the last.
func (s *sampledLines) count(line string) (skipped int64, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	known := s.lines[line]
	if known == nil {
		if len(s.lines) >= maxSampledLines {
			clear(s.lines)
		}
		s.lines[line] = &sampledLine{at: now}
		return 0, true
	}
	if now.Sub(known.at) < sampleInterval {
		known.skipped++
		return 0, false
	}
	skipped = known.skipped
	known.at, known.skipped = now, 0
	return skipped, true
}
