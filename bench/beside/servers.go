package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// server is a process on the first core.
type server struct {
	name  string
	url   string
	stats string // path of the runtime's figures
	pid   int
}

// servers are both servers, and a PostgreSQL that keyward dev runs.
type servers struct {
	dir           string
	key           string // of the tenant's signer
	etag          string
	keyward, bare *server
	processes     []*exec.Cmd
}

// startServers starts everything in a new directory.
func startServers(ctx context.Context, o options) (s *servers, err error) {
	dir, err := os.MkdirTemp("/tmp", "keyward-beside-")
	if err != nil {
		return nil, err
	}
	s = &servers{dir: dir}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if o.keyward == "" {
		o.keyward = filepath.Join(dir, "keyward")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.keyward, "./cmd/keyward")
		build.Dir, build.Stderr = "..", os.Stderr // bench is a module of its own
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build Keyward: %w", err)
		}
	}
	addresses, err := freeAddresses(3)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if _, err := s.start(nil, "taskset", "-c", "1", o.keyward, "dev", "--addr="+addresses[0], "--data-dir="+data); err != nil {
		return nil, err
	}
	if err := waitFor(ctx, "http://"+addresses[0]+"/readyz"); err != nil {
		return nil, err
	}
	log, err := os.ReadFile(s.log(0))
	if err != nil {
		return nil, err
	}
	env := []string{
		"KEYWARD_DATABASE_URL=" + regexp.MustCompile(`postgres(ql)?://[^\s"]+`).FindString(string(log)),
		"KEYWARD_MASTER_KEY=file:" + filepath.Join(data, "master.json"), "KEYWARD_ADDR=" + addresses[1],
	}
	s.keyward = &server{name: "Keyward", url: "http://" + addresses[1], stats: "/metrics"}
	if s.keyward.pid, err = s.start(env, "taskset", "-c", "0", o.keyward, "serve", "--no-worker"); err != nil {
		return nil, err
	}
	if err := waitFor(ctx, s.keyward.url+"/readyz"); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, data); err != nil {
		return nil, err
	}
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.bare = &server{name: "bare", url: "http://" + addresses[2], stats: "/runtime"}
	if s.bare.pid, err = s.start(nil, "taskset", "-c", "0", own, "-yardstick="+s.keyward.url+"/t/demo/.well-known/jwks.json", "-address="+addresses[2]); err != nil {
		return nil, err
	}
	return s, waitFor(ctx, s.bare.url+"/runtime")
}

// prepare gives the tenant demo a second policy and reads its ETag.
func (s *servers) prepare(ctx context.Context, data string) error {
	key, err := os.ReadFile(filepath.Join(data, "admin.key"))
	if err != nil {
		return err
	}
	s.key = strings.TrimSpace(string(key))
	if _, _, err := s.ask(ctx, http.MethodPut, s.keyward.url+"/v1/tenants/demo/policies/EdDSA", "{}"); err != nil {
		return err
	}
	h, _, err := s.ask(ctx, http.MethodGet, s.keyward.url+"/t/demo/.well-known/jwks.json", "")
	s.etag = h.Get("ETag")
	return err
}

func (s *servers) ask(ctx context.Context, method, url, body string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, res.Status, bytes.TrimSpace(text))
	}
	return res.Header, text, err
}

func (s *servers) log(process int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%d.log", process))
}

func (s *servers) start(env []string, program string, args ...string) (pid int, err error) {
	log, err := os.Create(s.log(len(s.processes)))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	s.processes = append(s.processes, cmd)
	return cmd.Process.Pid, nil
}

// close ends all processes, the last one first, and removes the directory.
func (s *servers) close() {
	for _, p := range slices.Backward(s.processes) {
		_ = p.Process.Signal(syscall.SIGINT)
		_ = p.Wait()
	}
	_ = os.RemoveAll(s.dir)
}

func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// waitFor asks until the answer is 200, a minute at most.
func waitFor(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", url, err)
		}
	}
}
