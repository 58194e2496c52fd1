package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// lookAtFiles is how often it is seen that files were replaced.
const lookAtFiles = 5 * time.Second

// reloaded is what some files hold. They are read again when they have changed, so
// that whoever renews them restarts nothing. What cannot be read, is half written
// or does not belong together leaves the one before in place: files are seldom
// replaced all at once.
type reloaded[T any] struct {
	variable string // that names the files
	what     string // they hold
	files    []string
	read     func() (*T, error)
	ends     func(*T) time.Time

	current atomic.Pointer[T]
	seen    string // what the files looked like when they were read last
}

// load reads for the first time.
func (r *reloaded[T]) load() error {
	_, err := r.look(false)
	return err
}

// look reads the files if they are others than before, or in any case. It is
// called by one goroutine at a time.
func (r *reloaded[T]) look(anyway bool) (changed bool, err error) {
	state := appearance(r.files)
	if state == r.seen && !anyway {
		return false, nil
	}
	r.seen = state // what is broken is complained of once
	v, err := r.read()
	if err != nil {
		return false, err
	}
	r.current.Store(v)
	return true, nil
}

// end is when what is in use ends.
func (r *reloaded[T]) end() time.Time { return r.ends(r.current.Load()) }

// seconds is end in seconds since 1970.
func (r *reloaded[T]) seconds() float64 { return float64(r.end().Unix()) }

func (r *reloaded[T]) names() (variable, what string) { return r.variable, r.what }

// appearance is what tells files from those before them.
func appearance(files []string) (all string) {
	for _, path := range files {
		if info, err := os.Stat(path); err == nil {
			all += fmt.Sprintf("%d %d;", info.ModTime().UnixNano(), info.Size())
		} else {
			all += "missing;"
		}
	}
	return all
}

// watched is a [reloaded] of any type.
type watched interface {
	look(anyway bool) (changed bool, err error)
	end() time.Time
	names() (variable, what string)
}

// watchFiles looks at the files now and then, and reads them at once on SIGHUP,
// whatever they look like.
func (a *app) watchFiles(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tick := time.NewTicker(lookAtFiles)
	defer tick.Stop()
	for {
		anyway := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-hangup:
			anyway = true
		}
		for _, f := range a.transport.files() {
			variable, what := f.names()
			switch changed, err := f.look(anyway); {
			case err != nil:
				a.log.Error("the new "+what+" cannot be used; the one before stays", "variable", variable, "error", err)
			case changed:
				a.log.Info(what+" read again", "variable", variable, "ends", f.end())
			}
		}
	}
}
