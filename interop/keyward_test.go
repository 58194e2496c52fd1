package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// program is a running `keyward dev`.
type program struct {
	url      string // its public URL
	adminKey string
	cmd      *exec.Cmd
	log      string // the file with its output
	ended    chan struct{}
	err      error // how it ended, once ended is closed
}

// startKeyward builds the program and returns when it is ready. It serves HTTPS.
func startKeyward(ctx context.Context, dir string) (*program, error) {
	bin, data := filepath.Join(dir, "keyward"), filepath.Join(dir, "data")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/keyward")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if err := trusted.certify(filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p := &program{url: "https://localhost:" + port, log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	if err := p.start(ctx, bin, addr, data); err != nil {
		return nil, err
	}
	if err := p.ready(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("keyward dev: %w\n%s", err, p.output())
	}
	key, err := os.ReadFile(filepath.Join(data, "admin.key"))
	if err != nil {
		p.stop()
		return nil, err
	}
	p.adminKey = strings.TrimSpace(string(key))
	return p, nil
}

func (p *program) start(ctx context.Context, bin, addr, data string) error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, bin, "dev", "--addr", addr, "--data-dir", data)
	dir := filepath.Dir(bin)
	p.cmd.Env = append(unconfigured(), "KEYWARD_PUBLIC_URL="+p.url, "KEYWARD_TLS_CERT="+filepath.Join(dir, "tls.pem"), "KEYWARD_TLS_KEY="+filepath.Join(dir, "tls.key"),
		"KEYWARD_WEBHOOK_ALLOW=127.0.0.0/8") // receivers are on this machine
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 20 * time.Second
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// ready waits until /readyz says 200.
func (p *program) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := http.Get(p.url + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("ended before it was ready: %w", errors.Join(p.err, ctx.Err()))
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		}
	}
}

// stop does what Ctrl-C does and waits for the end.
func (p *program) stop() {
	_ = p.cmd.Cancel() // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(p.cmd.WaitDelay):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func (p *program) output() string {
	out, _ := os.ReadFile(p.log) // nothing to say is an answer
	return string(out)
}

// unconfigured is the environment without settings of Keyward.
func unconfigured() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KEYWARD_") || strings.HasPrefix(v, "KEYWARD_PG_BIN=") {
			env = append(env, v)
		}
	}
	return env
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
