package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/worker"
)

const (
	keptCheckpoints    = 100 // files; older ones are deleted
	checkpointPattern  = "keyward-*.checkpoint"
	checkpointTimeForm = "20060102T150405Z"
	platformSetFile    = "platform-jwks.json"
)

// checkpointChores returns the chore that writes checkpoints, none without
// KEYWARD_CHECKPOINT_DIR.
func (a *app) checkpointChores() []worker.Chore {
	if a.cfg.checkpointDir == "" {
		return nil
	}
	return []worker.Chore{{Name: "write checkpoint", Interval: a.cfg.checkpointInterval, Run: a.writeCheckpoint}}
}

// writeCheckpoint writes a checkpoint of all tenants with its leaves, and the platform's
// JWK Set to verify it with, into the directory. Each file is replaced atomically.
func (a *app) writeCheckpoint(ctx context.Context) error {
	name := "keyward-" + utcNow().Format(checkpointTimeForm) + ".checkpoint"
	err := replaceFile(filepath.Join(a.cfg.checkpointDir, name), 0o600, func(w io.Writer) error {
		lines := json.NewEncoder(w)
		signed, err := a.signer.CheckpointPlatform(ctx, a.audit, uuid.Nil, func(l signing.CheckpointLeaf) error { return lines.Encode(l) })
		if err != nil {
			return err
		}
		return lines.Encode(map[string]string{"checkpoint": signed.JWS})
	})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	platform, _, err := a.snapshots.Get(ctx, tenant.PlatformSlug)
	if err != nil {
		return fmt.Errorf("checkpoint: the platform's JWK Set: %w", err)
	}
	if err := a.writePlatformSet(platform); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return deleteOldCheckpoints(a.cfg.checkpointDir)
}

func (a *app) writePlatformSet(platform *snapshot.Snapshot) error {
	return replaceFile(filepath.Join(a.cfg.checkpointDir, platformSetFile), 0o600, func(w io.Writer) error {
		_, err := w.Write(platform.JWKS)
		return err
	})
}

// deleteOldCheckpoints keeps the newest checkpoints of a directory; their names sort by
// time.
func deleteOldCheckpoints(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, checkpointPattern))
	if err != nil || len(files) <= keptCheckpoints {
		return err
	}
	slices.Sort(files)
	var failed error
	for _, file := range files[:len(files)-keptCheckpoints] {
		failed = errors.Join(failed, os.Remove(file))
	}
	return failed
}
