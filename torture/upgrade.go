package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// errNoPrevious means that no earlier commit can precede this schema.
var errNoPrevious = errors.New("no earlier commit has migrations that these begin with")

// previousCommit returns the last commit whose migrations these begin with, so that its
// program may meet this schema: the one before the migrations changed, else the one before
// this commit.
func previousCommit(ctx context.Context, source string) (string, error) {
	changed, err := git(ctx, source, "log", "-1", "--format=%H", "--", "migrations/*.sql")
	if err != nil {
		return "", err
	}
	for _, candidate := range []string{changed + "^", "HEAD^"} {
		commit, err := git(ctx, source, "rev-parse", "--verify", "--quiet", candidate+"^{commit}")
		if err != nil {
			continue // not in a shallow clone
		}
		if err := beginsWith(ctx, source, commit); err == nil {
			return commit, nil
		}
	}
	return "", errNoPrevious
}

// beginsWith returns an error unless every migration of a commit is one of these, unchanged.
func beginsWith(ctx context.Context, source, commit string) error {
	names, err := git(ctx, source, "ls-tree", "--full-tree", "--name-only", commit+":migrations")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(names) {
		if filepath.Ext(name) != ".sql" {
			continue
		}
		then, err1 := git(ctx, source, "rev-parse", commit+":migrations/"+name)
		now, err2 := git(ctx, source, "hash-object", filepath.Join(source, "migrations", name))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if then != now {
			return fmt.Errorf("%s is another", name)
		}
	}
	return nil
}

func git(ctx context.Context, source string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = source
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// buildPrevious builds the program of the commit that an upgrade begins with, with a clock
// that can be moved if the present one's can. With a Go build cache that knows the present
// program it takes seconds.
func buildPrevious(ctx context.Context, source, dir string, clock bool) (program, commit string, err error) {
	if commit, err = previousCommit(ctx, source); err != nil {
		return "", "", err
	}
	tree := filepath.Join(dir, "previous")
	if err := os.Mkdir(tree, 0o700); err != nil {
		return "", "", err
	}
	extract := exec.CommandContext(ctx, "sh", "-c", `git archive --format=tar "$1" | tar -x -C "$2"`, "sh", commit, tree)
	extract.Dir = source
	if out, err := extract.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("extract %s: %w: %s", commit, err, out)
	}
	into := filepath.Join(dir, "previous-program")
	if err := os.Mkdir(into, 0o700); err != nil {
		return "", "", err
	}
	if clock {
		program, err = build(ctx, tree, into)
		return program, commit, err
	}
	program = filepath.Join(into, "keyward")
	plain := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/keyward")
	plain.Dir, plain.Env = tree, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "PWD="+tree)
	if out, err := plain.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("go build of %s: %w: %s", commit, err, out)
	}
	return program, commit, nil
}

// findPrevious finds the program that serves at first, and says why there is none.
func (c *campaign) findPrevious(ctx context.Context, source string) error {
	c.previous = c.options.previous
	fromGit := c.previous == "git" || c.previous == "" && c.options.program == ""
	switch {
	case fromGit:
		c.previous = ""
	case c.previous == "none":
		c.previous = ""
		c.leaveOut("previous", "There was no upgrade: -previous none.")
		return nil
	case c.previous != "":
		var err error
		c.previous, err = filepath.Abs(c.previous)
		return err
	default:
		c.leaveOut("previous", "There was no upgrade: -previous names no earlier program.")
		return nil
	}
	program, commit, err := buildPrevious(ctx, source, c.dir, c.clockMoves)
	if err != nil {
		c.leaveOut("previous", fmt.Sprintf("There was no upgrade: %v.", err))
		return nil
	}
	c.previous = program
	c.record.note("The campaign began with the program of commit %.12s.", commit)
	return nil
}

// upgrade migrates the schema with the new program while the previous one serves under
// load, lets that go on for a while, and then replaces one process after the other.
func upgrade(ctx context.Context, c *campaign, _ *process) (func() error, error) {
	if c.upgraded {
		return nil, errors.New("it is done")
	}
	c.upgraded = true
	began := time.Now()
	cmd := exec.CommandContext(ctx, c.program, "migrate", "up")
	cmd.Env = c.environment(c.postgres.addr(), "upgrade")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("keyward migrate up: %w: %s", err, out)
	}
	c.record.measure("migrations of an upgrade took, under load", began, time.Since(began))
	return func() error {
		for _, p := range c.processes {
			p.program = c.program
			back, err := restartProcess(context.Background(), c, p)
			if err != nil {
				return err
			}
			if err := back(); err != nil {
				return err
			}
			if p.replica >= 0 {
				if err := until(context.Background(), recoveryBound, func() error { return c.ready(context.Background(), p) }); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}
