package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyward/keyward/internal/callstack"
)

// errPanic stands for a recovered panic. It omits the panic's value, which may
// be secret.
var errPanic = errors.New("worker: panic")

// minPassInterval is the minimum time between passes caused by Wake, so that a burst of
// changes does not cause a burst of passes.
const minPassInterval = 100 * time.Millisecond

// runPasses runs passes and chores until ctx or leading is done.
func (w *Worker) runPasses(ctx, leading context.Context) {
	var failed backoff
	chores := make([]time.Time, len(w.cfg.Every)) // due times; zero: at once
	for ctx.Err() == nil && leading.Err() == nil {
		began := w.cfg.Now()
		next, err := w.runPass(leading)
		switch {
		case err == nil:
			failed.reset()
			if w.waitUntil(ctx, leading, earlierNonZero(next, w.runChores(ctx, leading, chores)), w.wake) {
				w.waitUntil(ctx, leading, began.Add(minPassInterval), nil)
			}
		case leading.Err() == nil:
			pause := failed.next()
			w.cfg.Log.Error("worker pass failed", "error", err, "retry_in", pause)
			w.waitUntil(ctx, leading, w.cfg.Now().Add(pause), nil) // ignores Wake, so that a failing pass does not spin
		}
	}
}

// runPass runs one pass and counts it.
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

// runChores runs the due chores that are not apart. It returns the time of the next, zero
// if there is none.
func (w *Worker) runChores(ctx, leading context.Context, due []time.Time) (next time.Time) {
	for i, chore := range w.cfg.Every {
		if chore.Apart {
			continue
		}
		if ctx.Err() != nil || leading.Err() != nil {
			return next
		}
		if !due[i].After(w.cfg.Now()) {
			due[i] = w.runChore(leading, chore)
		}
		next = earlierNonZero(next, due[i])
	}
	return next
}

// runChore runs a chore and returns when it is due again: if it failed, after at most a
// minute.
func (w *Worker) runChore(ctx context.Context, chore Chore) (due time.Time) {
	now := w.cfg.Now()
	err := w.catchPanic(chore.Name, func() error {
		err := chore.Run(ctx)
		if ctx.Err() != nil { // it was cut off, which is no failure
			return nil
		}
		return err
	})
	if err == nil {
		return now.Add(chore.Interval)
	}
	w.cfg.Log.Error("worker chore failed", "chore", chore.Name, "error", err)
	return now.Add(min(chore.Interval, time.Minute))
}

// startApart starts the chores that are apart, which end with ctx or leading. The returned
// function waits for their end.
func (w *Worker) startApart(ctx, leading context.Context) (wait func()) {
	both, end := context.WithCancel(leading)
	unlink := context.AfterFunc(ctx, end)
	var running sync.WaitGroup
	for _, chore := range w.cfg.Every {
		if !chore.Apart {
			continue
		}
		running.Go(func() {
			for both.Err() == nil {
				sleepContext(both, w.runChore(both, chore).Sub(w.cfg.Now()))
			}
		})
	}
	return func() {
		end()
		unlink()
		running.Wait()
	}
}

// waitUntil waits until a time (zero: none), a call of Wake, or the end of a
// context, at most Idle. It reports whether Wake was called.
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

// catchPanic runs fn, turns a panic into an error, and counts failures.
func (w *Worker) catchPanic(what string, fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			w.updateStatus(func(s *Status) { s.Panics++ })
			w.cfg.Log.Error("worker panic", "in", what, "type", fmt.Sprintf("%T", v), "at", callstack.OfPanic())
			err = fmt.Errorf("%w (%T)", errPanic, v)
		}
		if err != nil {
			w.updateStatus(func(s *Status) { s.Failures++ })
		}
	}()
	return fn()
}

// earlierNonZero returns the earlier of two times, ignoring zero.
func earlierNonZero(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
