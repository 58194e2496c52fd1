package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mountSmall puts a file system in memory where the cluster is to be, if that is
// allowed here. A helper takes it away again, also if the campaign is killed.
func (p *postgres) mountSmall() {
	if exec.Command("mount", "-t", "tmpfs", "-o", "size=1g,mode=0700", "keyward-torture", p.dir).Run() != nil {
		return
	}
	end, err := helpAtTheEnd(`umount -l "$1"`, p.dir)
	if err != nil {
		_ = exec.Command("umount", "-l", p.dir).Run()
		return
	}
	p.small, p.unmount = true, end
}

// helpAtTheEnd starts a shell that runs a script as soon as end is called, or as
// this program ends in any other way.
func helpAtTheEnd(script string, args ...string) (end func(), err error) {
	helper := exec.Command("sh", append([]string{"-c", "read end; " + script, "sh"}, args...)...)
	helper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of Ctrl-C
	input, err := helper.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := helper.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = input.Close()
		_ = helper.Wait() // what it was to do may have been done
	}, nil
}

// fill leaves no room on the small file system; empty gives it back, and starts
// the server again should it have given up.
func (p *postgres) fill() (empty func() error, err error) {
	name := p.path("filler")
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size := int64(0)
	for chunk := int64(16 << 20); chunk >= 4<<10; chunk /= 2 {
		for syscall.Fallocate(int(file.Fd()), 0, size, chunk) == nil {
			size += chunk
		}
	}
	return func() error { return errors.Join(os.Remove(name), p.revive(context.Background())) }, nil
}

// revive waits until the server takes connections, and starts it if it has ended.
func (p *postgres) revive(ctx context.Context) error {
	return until(ctx, time.Minute, func() error {
		p.mu.Lock()
		ended := p.ended
		p.mu.Unlock()
		select {
		case <-ended:
			return p.start(ctx)
		default:
		}
		conn, err := p.connect(ctx, "postgres", "postgres")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// pids are the postmaster's and its children's process ids.
func (p *postgres) pids() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	all := []int{p.cmd.Process.Pid}
	out, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.cmd.Process.Pid))
	for _, field := range bytes.Fields(out) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// freeze stops all processes of the server; thaw lets them go on. A helper
// thaws them too if the campaign dies meanwhile: they would stay for good.
func (p *postgres) freeze() (thaw func(), err error) {
	pids := p.pids()
	if len(pids) == 0 {
		return nil, errors.New("PostgreSQL does not run")
	}
	_ = syscall.Kill(pids[0], syscall.SIGSTOP) // first the postmaster, so that no children are added
	pids = p.pids()
	thaw, err = helpAtTheEnd(`kill -CONT "$@"`, strings.Fields(strings.Trim(fmt.Sprint(pids), "[]"))...)
	if err != nil {
		_ = syscall.Kill(pids[0], syscall.SIGCONT)
		return nil, err
	}
	for _, pid := range pids[1:] {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return thaw, nil
}

// reload lets the server read its settings again.
func (p *postgres) reload() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(syscall.SIGHUP)
	}
}
