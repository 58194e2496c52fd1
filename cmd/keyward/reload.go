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

// reloadable is what some files hold. They are read again when they have changed, so
// that whoever renews them restarts nothing. What cannot be read, is half written
// or does not belong together leaves the one before in place: files are seldom
// replaced all at once.
type reloadable[T any] struct {
	variable string // that names the files
	what     string // they hold
	files    []string
	read     func() (*T, error)
	ends     func(*T) time.Time

	current atomic.Pointer[T]
	seen    string // what the files looked like when they were read last
}

// loadFirst reads for the first time.
func (r *reloadable[T]) loadFirst() error {
	_, err := r.reloadIfChanged(false)
	return err
}

// reloadIfChanged reads the files if they are others than before, or in any case. It is
// called by one goroutine at a time.
func (r *reloadable[T]) reloadIfChanged(anyway bool) (changed bool, err error) {
	state := fileState(r.files)
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

// expiresAt is when what is in use ends.
func (r *reloadable[T]) expiresAt() time.Time { return r.ends(r.current.Load()) }

// expirySeconds is end in seconds since 1970.
func (r *reloadable[T]) expirySeconds() float64 { return float64(r.expiresAt().Unix()) }

func (r *reloadable[T]) names() (variable, what string) { return r.variable, r.what }

// fileState is what tells files from those before them.
func fileState(files []string) (all string) {
	for _, path := range files {
		if info, err := os.Stat(path); err == nil {
			all += fmt.Sprintf("%d %d;", info.ModTime().UnixNano(), info.Size())
		} else {
			all += "missing;"
		}
	}
	return all
}

// watchedFile is a [reloaded] of any type.
type watchedFile interface {
	reloadIfChanged(anyway bool) (changed bool, err error)
	expiresAt() time.Time
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
		for _, f := range a.transport.watchedFiles() {
			variable, what := f.names()
			switch changed, err := f.reloadIfChanged(anyway); {
			case err != nil:
				a.log.Error("the new "+what+" cannot be used; the one before stays", "variable", variable, "error", err)
			case changed:
				a.log.Info(what+" read again", "variable", variable, "ends", f.expiresAt())
			}
		}
	}
}
