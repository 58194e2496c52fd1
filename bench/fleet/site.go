package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// site is a directory and the processes that live in it.
type site struct {
	options
	dir       string
	cred      *syscall.Credential // of PostgreSQL's processes
	processes []*exec.Cmd
}

func newSite(o options) (*site, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("run it as root: PostgreSQL's processes get the user postgres")
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	dir, err := os.MkdirTemp("/tmp", "keyward-fleet-")
	if err != nil {
		return nil, err
	}
	s := &site{options: o, dir: dir, cred: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	if s.keyward == "" {
		s.keyward = filepath.Join(dir, "keyward")
		build := exec.Command("go", "build", "-o", s.keyward, "./cmd/keyward")
		build.Dir, build.Stderr = "..", os.Stderr // bench is a module of its own
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build Keyward: %w", err)
		}
	}
	return s, nil
}

// start runs a program until the site closes; what it says goes to a file.
func (s *site) start(name string, cred *syscall.Credential, env []string, program string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w (apt-get install postgresql patroni etcd-server haproxy)", name, err)
	}
	s.processes = append(s.processes, cmd)
	return cmd, nil
}

// close ends all processes, the last one first.
func (s *site) close() {
	for _, p := range slices.Backward(s.processes) {
		_ = p.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = p.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		}
	}
	if s.keep {
		fmt.Println("logs and data are in", s.dir)
		return
	}
	_ = os.RemoveAll(s.dir)
}

func (s *site) write(name, text string) (path string, err error) {
	path = filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
