package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// standbyReplica is the replica that reads from the standby.
const standbyReplica = 1

// startStandby makes a streaming standby of the server and starts it. It gets a log of its
// own. What it returns is to be closed, also where there is an error.
func (p *postgres) startStandby(ctx context.Context, dir string) (*postgres, error) {
	s := &postgres{bin: p.bin, dir: dir, starter: p.starter, cred: p.cred, logName: "standby.log"}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return s, err
	}
	if p.cred != nil {
		if err := os.Chown(dir, int(p.cred.Uid), int(p.cred.Gid)); err != nil {
			return s, err
		}
	}
	var err error
	if s.port, err = freePort(); err != nil {
		return s, err
	}
	return s, s.follow(ctx, p)
}

// follow copies the primary anew and streams from it.
func (s *postgres) follow(ctx context.Context, primary *postgres) error {
	s.stop(syscall.SIGQUIT)
	if err := os.RemoveAll(s.path("data")); err != nil {
		return err
	}
	base := s.command("pg_basebackup", "-D", s.path("data"), "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d",
		fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=torture-standby", primary.port))
	if out, err := base.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return s.start(ctx)
}

// replay pauses the replay of a standby, or lets it go on.
func (s *postgres) replay(ctx context.Context, do string) error {
	return s.admin(ctx, "SELECT pg_wal_replay_"+do+"()")
}

// addStandby gives the campaign a standby, or says why it has none.
func (c *campaign) addStandby(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(c.postgres.bin, "pg_basebackup")); err != nil {
		c.leaveOut("standby", "There was no standby: pg_basebackup is not installed.")
		return nil
	}
	var err error
	c.standby, err = c.postgres.startStandby(ctx, filepath.Join(c.dir, "standby"))
	return err
}

func lagStandby(ctx context.Context, c *campaign, _ *process) (func() error, error) {
	if err := c.standby.replay(ctx, "pause"); err != nil {
		return nil, err
	}
	return func() error { return c.standby.replay(context.Background(), "resume") }, nil
}

func freezeStandby(_ context.Context, c *campaign, _ *process) (func() error, error) {
	thaw, err := c.standby.freeze()
	return func() error { thaw(); return nil }, err
}

func killStandby(_ context.Context, c *campaign, _ *process) (func() error, error) {
	c.standby.stop(syscall.SIGKILL)
	return func() error { return c.standby.start(context.Background()) }, nil
}

func cutStandby(_ context.Context, c *campaign, _ *process) (func() error, error) {
	join := c.replicas[standbyReplica].reading.cut()
	return func() error { join(); return nil }, nil
}

func halfOpenStandby(_ context.Context, c *campaign, _ *process) (func() error, error) {
	return c.replicas[standbyReplica].reading.poison("timeout", map[string]any{"timeout": 0})
}

// promoteStandby makes the standby a primary of its own, whose log overtakes that of the
// true primary. At the end it follows again.
func promoteStandby(ctx context.Context, c *campaign, _ *process) (func() error, error) {
	if err := c.standby.admin(ctx, "SELECT pg_promote(true, 20)"); err != nil {
		return nil, err
	}
	again := func() error {
		return until(context.Background(), time.Minute, func() error { return c.standby.follow(context.Background(), c.postgres) })
	}
	if err := c.standby.admin(ctx, "CREATE TABLE public.overtaken AS SELECT generate_series(1, 200000)"); err != nil {
		return nil, again()
	}
	return again, nil
}

// countStandbyReads notes how many tenants were looked up at the standby since it last
// began, which shows that it was read at all.
func (c *campaign) countStandbyReads(ctx context.Context) {
	if c.standby == nil {
		return
	}
	conn, err := c.standby.connect(ctx, "postgres", "keyward")
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var reads int64
	if conn.QueryRow(ctx, "SELECT COALESCE(idx_scan, 0) + COALESCE(seq_scan, 0) FROM pg_stat_user_tables WHERE relname = 'tenants'").Scan(&reads) == nil {
		c.record.note("The standby was asked for tenants %d times since it last began.", reads)
	}
}
