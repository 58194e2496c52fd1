package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// session is a running reader with a cache of its own.
type session struct {
	version string
	verify  verifySubject
}

// verifySubject returns the subject of a token that a reader accepts. An error is
// a refusal unless it wraps errBroken.
type verifySubject func(ctx context.Context, token string) (subject string, err error)

// The values of examples in readers/ and docs/verifiers.md. A run and the console
// replace them.
const (
	exampleIssuer   = "https://keys.example.com/t/acme"
	exampleJWKS     = exampleIssuer + "/.well-known/jwks.json"
	exampleAudience = "https://api.example.com"
	exampleAlg      = "ES256"
)

// fillIn replaces the values of an example by those of a tenant. An algorithm in
// double quotes is the element of a list.
func fillIn(example string, tn *tenant, algorithms []string) string {
	return strings.NewReplacer(
		exampleJWKS, tn.jwks, exampleIssuer, tn.issuer, exampleAudience, audience,
		`"`+exampleAlg+`"`, `"`+strings.Join(algorithms, `", "`)+`"`, exampleAlg, strings.Join(algorithms, " "),
	).Replace(example)
}

var sessions atomic.Int64

// prepare writes the reader's example, filled in, into a directory of its own,
// which servers that give up the rights of root may enter, too.
func (r *reader) prepare(t *testing.T, tn *tenant, algorithms []string) (dir, file string) {
	t.Helper()
	dir = filepath.Join(scratch, fmt.Sprintf("%s-%d", r.dir, sessions.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, filepath.Base(r.file))
	if err := os.WriteFile(file, []byte(fillIn(r.example(t), tn, algorithms)), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// example is the text of the reader's file.
func (r *reader) example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("readers", r.dir, r.file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// driver is the path of a program of readers/drive.
func driver(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("readers", "drive", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is a program that writes "ready VERSION" and then, for each line with a
// token, "ok SUBJECT" or "refused REASON".
type process struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	in    *os.File
	lines chan string // closed when the program has ended
	said  bytes.Buffer
}

// startProcess returns when the program is ready. It ends with the test.
func startProcess(t *testing.T, dir, name string, args ...string) session {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), name, args...), lines: make(chan string)}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr, p.cmd.WaitDelay = dir, trusted.environment(), &p.said, 5*time.Second
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin, p.in = in, ours
	err = p.cmd.Start()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(p.stop)
	ready, err := p.answer(t.Context())
	version, isReady := strings.CutPrefix(ready, "ready ")
	if err != nil || !isReady {
		p.stop()
		t.Fatalf("%s %s: %q, %v\n%s", name, strings.Join(args, " "), ready, err, &p.said)
	}
	return session{version, p.verify}
}

func (p *process) verify(ctx context.Context, token string) (subject string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.in, token); err != nil {
		return "", fmt.Errorf("%w: %w", errBroken, err)
	}
	line, err := p.answer(ctx)
	if err != nil {
		return "", err
	}
	verdict, rest, _ := strings.Cut(line, " ")
	switch verdict {
	case "ok":
		return rest, nil
	case "refused":
		return "", errors.New(rest)
	}
	return "", fmt.Errorf("%w: it said %q", errBroken, line)
}

func (p *process) answer(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case line, more := <-p.lines:
		if !more {
			return "", errBroken
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %w", errBroken, ctx.Err())
	}
}

// stop ends the program by ending its input, and reads what is left of its output.
func (p *process) stop() {
	if p.in.Close() != nil {
		return // stopped before
	}
	for range p.lines {
	}
	_ = p.cmd.Wait() // what it had to say it said
}
