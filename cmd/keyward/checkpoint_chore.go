package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/worker"
)

const (
	keptCheckpoints    = 100 // files in a directory; older ones are deleted
	checkpointSuffix   = ".checkpoint"
	checkpointKeys     = ".jwks.json" // of the platform's JWK Set to verify it with
	checkpointTimeForm = "20060102T150405Z"
)

// checkpointChores returns the chore that writes checkpoints, none without
// KEYWARD_CHECKPOINTS. It runs beside the others: a bucket can be slow.
func (a *app) checkpointChores() []worker.Chore {
	if a.cfg.checkpoints == nil {
		return nil
	}
	return []worker.Chore{{Name: "write checkpoint", Interval: a.cfg.checkpointInterval, Run: (&checkpointWriter{app: a, now: utcNow}).write, Apart: true}}
}

// checkpointWriter writes checkpoints, each with the platform's JWK Set to verify it with
// under the same name, which is there before it. What is written cannot be taken back: the
// next attempt at a checkpoint goes on where one failed, so that an outage leaves no sets
// without checkpoints, however long it is.
type checkpointWriter struct {
	*app
	now        func() time.Time
	unfinished checkpointAttempt // no name: none
}

// checkpointAttempt is a name that may have a set, and has no checkpoint as far as is known.
type checkpointAttempt struct {
	name    string
	began   time.Time
	set     []byte // nil: not tried yet
	written bool   // the set is there; if not, it may be
}

var errOtherSet = errors.New("the platform's JWK Set has changed since it was written for this checkpoint")

// write writes a checkpoint of all tenants with its leaves, deletes old ones, and records that
// it did or why it could not. Once it is written no error is returned, after which the chore
// would write another within a minute, for as long as it lasts.
func (w *checkpointWriter) write(ctx context.Context) error {
	archive, now := w.cfg.checkpoints, w.now()
	if err := w.writeNext(ctx, now); err != nil {
		if ctx.Err() == nil { // it was not cut off
			w.recordCheckpointFailure(ctx, now, err)
		}
		return fmt.Errorf("checkpoint not written to %s: %w", archive.Target(), err)
	}
	w.unfinished = checkpointAttempt{}
	if err := w.deleteOld(); err != nil {
		w.log.Warn("old checkpoints not deleted", "target", archive.Target(), "error", err)
	}
	if err := w.recordCheckpoint(ctx, now); err != nil {
		w.log.Warn("checkpoint written, but not recorded", "target", archive.Target(), "error", err)
	}
	return nil
}

// deleteOld deletes all but the newest checkpoints, and the sets before them.
func (w *checkpointWriter) deleteOld() error {
	archive := w.cfg.checkpoints
	oldest, err := archive.KeepNewest("keyward-*"+checkpointSuffix, keptCheckpoints)
	if err != nil || oldest == "" {
		return err
	}
	return archive.DeleteBefore("keyward-*"+checkpointKeys, strings.TrimSuffix(oldest, checkpointSuffix))
}

// writeNext goes on with the unfinished attempt, or begins another.
func (w *checkpointWriter) writeNext(ctx context.Context, now time.Time) error {
	err := errOtherSet
	if w.goesOn(ctx, now) {
		err = w.try(ctx) // ErrExists: it was written, and the answer was lost
	}
	if errors.Is(err, errOtherSet) || errors.Is(err, publish.ErrExists) {
		w.unfinished = checkpointAttempt{name: "keyward-" + now.Format(checkpointTimeForm), began: now}
		if err = w.try(ctx); errors.Is(err, publish.ErrExists) { // by another process
			w.unfinished = checkpointAttempt{}
		}
	}
	return err
}

// goesOn reports whether the name of the unfinished attempt is used again. After an interval
// it says a wrong time, which a set that has or may have this name outweighs, unless a
// checkpoint came after it: by its name this one would be older.
func (w *checkpointWriter) goesOn(ctx context.Context, now time.Time) bool {
	u := w.unfinished
	switch {
	case u.name == "":
		return false
	case now.Sub(u.began) < w.cfg.checkpointInterval:
		return true
	case u.set == nil:
		return false
	}
	place, err := readCheckpointPlace(ctx, w.db, w.cfg.checkpoints)
	return err != nil || place.WrittenAt == nil || place.WrittenAt.Before(u.began)
}

// try makes an attempt. Errors: errOtherSet, publish.ErrExists, and others.
func (w *checkpointWriter) try(ctx context.Context) error {
	return w.cfg.checkpoints.Create(ctx, w.unfinished.name+checkpointSuffix, "application/x-ndjson", func(to io.Writer) error {
		out := bufio.NewWriter(to)
		lines := json.NewEncoder(out)
		signed, err := w.signer.CheckpointPlatform(ctx, w.audit, uuid.Nil, func(l signing.CheckpointLeaf) error { return lines.Encode(l) })
		if err != nil {
			return err
		}
		if err := lines.Encode(map[string]string{"checkpoint": signed.JWS}); err != nil {
			return err
		}
		if err := w.writeSet(ctx); err != nil {
			return err
		}
		return out.Flush()
	})
}

// writeSet writes the platform's set for the attempt, unless it is there.
func (w *checkpointWriter) writeSet(ctx context.Context) error {
	platform, _, err := w.snapshots.Get(ctx, tenant.PlatformSlug)
	if err != nil {
		return fmt.Errorf("the platform's JWK Set: %w", err)
	}
	u := &w.unfinished
	again := u.set != nil
	switch {
	case again && !bytes.Equal(u.set, platform.JWKS):
		return errOtherSet
	case u.written:
		return nil
	}
	u.set = platform.JWKS
	err = w.cfg.checkpoints.Create(ctx, u.name+checkpointKeys, "application/json", func(to io.Writer) error {
		_, err := to.Write(platform.JWKS)
		return err
	})
	if again && errors.Is(err, publish.ErrExists) { // written by the attempt before, whose answer was lost
		err = nil
	}
	u.written = err == nil
	return err
}
