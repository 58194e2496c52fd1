package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/keyward/keyward/keys/moves"
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
	tokens        map[string]string // one of each algorithm
	zipf, uniform string            // files of slugs
	keyward, bare *server
	small         *server // Keyward with little memory for sets
	processes     []*exec.Cmd
}

// startServers starts everything in a new directory.
func startServers(ctx context.Context, o options) (s *servers, err error) {
	dir, err := os.MkdirTemp("/tmp", "keyward-beside-")
	if err != nil {
		return nil, err
	}
	s = &servers{dir: dir}
	started := s // which a return of nil replaces
	defer func() {
		if err != nil {
			started.close()
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
	addresses, err := freeAddresses(4)
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
	database := regexp.MustCompile(`postgres(ql)?://[^\s"]+`).FindString(string(log))
	env := []string{"KEYWARD_DATABASE_URL=" + database, "KEYWARD_MASTER_KEY=file:" + filepath.Join(data, "master.json")}
	if err := s.seed(ctx, o, env); err != nil {
		return nil, err
	}
	if s.keyward, err = s.startKeyward(ctx, o, "Keyward", addresses[1], env); err != nil {
		return nil, err
	}
	if s.small, err = s.startKeyward(ctx, o, "Keyward, 16 MB", addresses[3], append(env, "KEYWARD_CACHE_MB=16")); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, data); err != nil {
		return nil, err
	}
	if err := s.warm(ctx, o); err != nil {
		return nil, err
	}
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.bare = &server{name: "bare", url: "http://" + addresses[2], stats: "/runtime"}
	if s.bare.pid, err = s.start(nil, "taskset", "-c", "0", own, "-yardstick="+s.keyward.url+"/t/demo/.well-known/jwks.json", "-address="+addresses[2],
		"-database="+database, fmt.Sprintf("-tenants=%d", o.tenants)); err != nil {
		return nil, err
	}
	return s, waitFor(ctx, s.bare.url+"/runtime")
}

// startKeyward starts a process that serves, on the first core.
func (s *servers) startKeyward(ctx context.Context, o options, name, address string, env []string) (k *server, err error) {
	k = &server{name: name, url: "http://" + address, stats: "/metrics"}
	if k.pid, err = s.start(append(env, "KEYWARD_ADDR="+address), "taskset", "-c", "0", o.keyward, "serve", "--no-worker"); err != nil {
		return nil, err
	}
	return k, waitFor(ctx, k.url+"/readyz")
}

// seed makes the tenants, and the files of slugs in the order in which they are asked for.
func (s *servers) seed(ctx context.Context, o options, env []string) error {
	seed := exec.CommandContext(ctx, o.keyward, "bench", "seed", "--force", fmt.Sprintf("--tenants=%d", o.tenants), "--prefix="+seedPrefix)
	seed.Env = append(os.Environ(), env...)
	if out, err := seed.CombinedOutput(); err != nil {
		return fmt.Errorf("keyward bench seed: %w: %s", err, out)
	}
	r := rand.New(rand.NewPCG(1, 2))
	uniform := func() uint64 { return r.Uint64N(uint64(o.tenants)) }
	s.uniform, s.zipf = filepath.Join(s.dir, "uniform"), filepath.Join(s.dir, "zipf")
	return errors.Join(writeSlugs(s.uniform, o.tenants, uniform), writeSlugs(s.zipf, o.tenants, rand.NewZipf(r, 1.1, 1, uint64(o.tenants-1)).Uint64))
}

// warm asks for each tenant's set once, so that all are in memory.
func (s *servers) warm(ctx context.Context, o options) error {
	var asking sync.WaitGroup
	faults := make([]error, 16)
	for n := range faults {
		asking.Go(func() {
			for i := n; i < o.tenants && faults[n] == nil; i += len(faults) {
				_, _, faults[n] = s.ask(ctx, http.MethodGet, s.keyward.url+"/t/"+moves.Seed{Prefix: seedPrefix}.Slug(i)+"/.well-known/jwks.json", "")
			}
		})
	}
	asking.Wait()
	return errors.Join(faults...)
}

const seedPrefix = "many"

func writeSlugs(file string, n int, next func() uint64) error {
	var text strings.Builder
	for range n {
		text.WriteString(moves.Seed{Prefix: seedPrefix}.Slug(int(next())) + "\n")
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}

// prepare gives the tenant demo a second policy, makes its tokens and reads its ETag.
func (s *servers) prepare(ctx context.Context, data string) error {
	key, err := os.ReadFile(filepath.Join(data, "admin.key"))
	if err != nil {
		return err
	}
	s.key = strings.TrimSpace(string(key))
	if _, _, err := s.ask(ctx, http.MethodPut, s.keyward.url+"/v1/tenants/demo/policies/EdDSA", "{}"); err != nil {
		return err
	}
	s.tokens = map[string]string{}
	for _, alg := range []string{"ES256", "EdDSA"} {
		_, answer, err := s.ask(ctx, http.MethodPost, s.keyward.url+"/v1/tenants/demo/tokens", tokenOrder(alg))
		if err != nil {
			return err
		}
		var token struct{ Token string }
		if err := json.Unmarshal(answer, &token); err != nil {
			return err
		}
		s.tokens[alg] = token.Token
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
