package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// errPanic stands for what a pass or a chore panicked with, which is not
// repeated: it could hold anything.
var errPanic = errors.New("worker: panic")

// gap is the least time between passes that were only woken: a burst of
// changes elsewhere must not turn into a burst of passes.
const gap = 100 * time.Millisecond

// runPasses makes passes and does chores until ctx is over or leading is.
func (w *Worker) runPasses(ctx, leading context.Context) {
	var failed backoff
	chores := make([]time.Time, len(w.cfg.Every)) // when each is due: at once
	for ctx.Err() == nil && leading.Err() == nil {
		began := w.cfg.Now()
		next, err := w.runPass(leading)
		switch {
		case err == nil:
			failed.reset()
			if w.waitUntil(ctx, leading, earlierNonZero(next, w.runChores(ctx, leading, chores)), w.wake) {
				w.waitUntil(ctx, leading, began.Add(gap), nil)
			}
		case leading.Err() == nil:
			pause := failed.next()
			w.cfg.Log.Error("pass failed", "error", err, "again_in", pause)
			w.waitUntil(ctx, leading, w.cfg.Now().Add(pause), nil) // also when woken: a failing pass must not spin
		}
	}
}

// runPass makes one pass.
func (w *Worker) runPass(leading context.Context) (next time.Time, err error) {
	err = w.catchPanic("pass", func() (err error) {
		next, err = w.cfg.Run(leading)
		return err
	})
	if err == nil {
		w.updateStatus(func(s *Status) { s.Passes++ })
	}
	return next, err
}

// runChores does the chores that are due and returns when one is next; zero
// if there are none. One that fails is tried again after a minute or so.
func (w *Worker) runChores(ctx, leading context.Context, due []time.Time) (next time.Time) {
	for i, chore := range w.cfg.Every {
		if ctx.Err() != nil || leading.Err() != nil {
			return next
		}
		if now := w.cfg.Now(); !due[i].After(now) {
			due[i] = now.Add(chore.Interval)
			if err := w.catchPanic(chore.Name, func() error { return chore.Run(leading) }); err != nil {
				due[i] = now.Add(min(chore.Interval, time.Minute))
				w.cfg.Log.Error("chore failed", "chore", chore.Name, "error", err)
			}
		}
		next = earlierNonZero(next, due[i])
	}
	return next
}

// waitUntil waits until a time that is not zero, a wake-up, or the end. It never
// waits longer than Idle, and tells whether it was woken.
func (w *Worker) waitUntil(ctx, leading context.Context, until time.Time, wake <-chan struct{}) bool {
	pause := w.cfg.Idle
	if !until.IsZero() {
		pause = min(pause, until.Sub(w.cfg.Now()))
	}
	w.updateStatus(func(s *Status) { s.Next = w.cfg.Now().Add(max(pause, 0)) })
	if pause <= 0 {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-leading.Done():
	case <-wake:
		return true
	case <-timer.C:
	}
	return false
}

// catchPanic runs fn and turns a panic into an error.
func (w *Worker) catchPanic(what string, fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			w.updateStatus(func(s *Status) { s.Panics++ })
			w.cfg.Log.Error("panic", "in", what, "type", fmt.Sprintf("%T", v), "at", panicFrames())
			err = fmt.Errorf("%w (%T)", errPanic, v)
		}
		if err != nil {
			w.updateStatus(func(s *Status) { s.Failures++ })
		}
	}()
	return fn()
}

// panicFrames names the functions that led to a panic, without their arguments.
func panicFrames() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)]) // beyond Callers, callers, guard's function, gopanic
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return strings.Join(at, " ")
		}
	}
}

// earlierNonZero is the earlier of two times that are not zero.
func earlierNonZero(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
