package main

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// failoverPrograms are what a failover needs besides PostgreSQL.
var failoverPrograms = []string{"patroni", "etcd"}

// failover kills the primary of another PostgreSQL, of three nodes under Patroni and etcd,
// under load: bench/fleet does it, and says what was lost. It comes after the faults,
// because commit times and logs of one server are held against each other there.
func (c *campaign) failover(ctx context.Context) {
	if !c.options.failover {
		c.record.note("No primary was failed over by Patroni: -failover was not given.")
		return
	}
	for _, name := range failoverPrograms {
		if _, err := exec.LookPath(name); err != nil {
			c.record.note("No primary was failed over by Patroni: %s is not installed.", name)
			return
		}
	}
	c.record.say("a failover by Patroni, under load")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "run", "./fleet", "-keyward", c.program, "-tenants", "20", "-before", "10s", "failover")
	cmd.Dir = filepath.Join("..", "bench")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	run := c.record.enter("primary killed, failover by Patroni", "everybody")
	err := cmd.Run()
	c.record.leave(run, 0)
	c.record.check(failoverKept, 1)
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		c.record.note("Failover by Patroni: %s.", strings.Join(strings.Fields(lines.Text()), " "))
	}
	if err != nil {
		c.record.broke(failoverKept, "%v: %s", err, shorten(strings.TrimSpace(errs.String()), 600))
	}
}
