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

// fileCheckInterval is the interval of checks for replaced files.
const fileCheckInterval = 5 * time.Second

// reloadable is a value read from files. It is read again when they change, so
// that a renewal needs no restart. If the new files are unreadable, incomplete
// or inconsistent, the previous value stays: files are seldom replaced all at
// once.
type reloadable[T any] struct {
	variable string // setting that names the files
	what     string // kind of value, for messages
	files    []string
	read     func() (*T, error)
	ends     func(*T) time.Time

	current atomic.Pointer[T]
	seen    string // state of the files at the last read
}

// loadFirst reads the files for the first time.
func (r *reloadable[T]) loadFirst() error {
	_, err := r.reloadIfChanged(false)
	return err
}

// reloadIfChanged reads the files if they have changed, or always if anyway is
// true. Only one goroutine may call it at a time.
func (r *reloadable[T]) reloadIfChanged(anyway bool) (changed bool, err error) {
	state := fileState(r.files)
	if state == r.seen && !anyway {
		return false, nil
	}
	r.seen = state // so that an error is reported once
	v, err := r.read()
	if err != nil {
		return false, err
	}
	r.current.Store(v)
	return true, nil
}

// expiresAt returns the expiry of the current value.
func (r *reloadable[T]) expiresAt() time.Time { return r.ends(r.current.Load()) }

// expirySeconds returns expiresAt as a Unix time.
func (r *reloadable[T]) expirySeconds() float64 { return float64(r.expiresAt().Unix()) }

func (r *reloadable[T]) names() (variable, what string) { return r.variable, r.what }

// fileState returns a text that changes with the modification time or size of a
// file.
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

// watchedFile is a [reloadable] of any type.
type watchedFile interface {
	reloadIfChanged(anyway bool) (changed bool, err error)
	expiresAt() time.Time
	names() (variable, what string)
}

// watchFiles checks the files periodically, and reads them unconditionally on
// SIGHUP.
func (a *app) watchFiles(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tick := time.NewTicker(fileCheckInterval)
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
				a.log.Error("reload of the "+what+" failed; keeping the previous one", "variable", variable, "error", err)
			case changed:
				a.log.Info(what+" reloaded", "variable", variable, "ends", f.expiresAt())
			}
		}
	}
}
