package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// errNoNode means that this machine cannot run the libraries of Node.js.
var errNoNode = errors.New("the libraries of Node.js are not tried")

// errBroken means that a program gave no answer, which says nothing about the
// token.
var errBroken = errors.New("no answer")

// oldestNode is the first that can require() what jwks-rsa requires.
var oldestNode = [2]int{20, 19}

// nodeProcess is the process that runs all verifiers of Node.js.
type nodeProcess struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // closed when no answer can come any more

	mu      sync.Mutex
	last    int // number of the last request or verifier
	waiting map[int]chan<- nodeAnswer
}

type nodeAnswer struct {
	ID    int    `json:"id"`
	Error string `json:"error"`
}

// startNode runs clients.mjs of dir, installing what it needs if that is not
// there. A nil process may be stopped.
func startNode(ctx context.Context, dir string) (*nodeProcess, error) {
	if err := checkNode(ctx); err != nil {
		return nil, err
	}
	if err := installed(dir); err != nil {
		return nil, err
	}
	p := &nodeProcess{ended: make(chan struct{}), waiting: map[int]chan<- nodeAnswer{}}
	p.cmd = exec.CommandContext(ctx, "node", "clients.mjs")
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr, p.cmd.WaitDelay = dir, trusted.environment(), os.Stderr, 5*time.Second
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.receive(out)
	return p, nil
}

func checkNode(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: there is no node on the PATH", errNoNode)
	}
	var major, minor int
	if err == nil {
		_, err = fmt.Sscanf(string(out), "v%d.%d", &major, &minor)
	}
	if err != nil {
		return fmt.Errorf("node --version: %w", err)
	}
	if major < oldestNode[0] || major == oldestNode[0] && minor < oldestNode[1] {
		return fmt.Errorf("%w: node is %s, they need %d.%d", errNoNode, strings.TrimSpace(string(out)), oldestNode[0], oldestNode[1])
	}
	return nil
}

// installs has a func() error for each directory whose libraries were asked for.
var installs sync.Map

// installed fetches the libraries of a directory, once: two at a time would delete each
// other's.
func installed(dir string) error {
	once, _ := installs.LoadOrStore(dir, sync.OnceValue(func() error { return install(dir) }))
	return once.(func() error)()
}

// install fetches the libraries, unless those of the lock file are there.
func install(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	want, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	have, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	if err == nil && have.ModTime().After(want.ModTime()) {
		return nil
	}
	npm := exec.CommandContext(ctx, "npm", "ci")
	npm.Dir = dir
	out, err := npm.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: there is no npm to install them with", errNoNode)
	case err != nil:
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}

func (p *nodeProcess) receive(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var a nodeAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			fmt.Fprintf(os.Stderr, "clients.mjs: %v: %s\n", err, lines.Bytes())
			return
		}
		p.mu.Lock()
		c := p.waiting[a.ID]
		delete(p.waiting, a.ID)
		p.mu.Unlock()
		c <- a
	}
}

// number is a new one.
func (p *nodeProcess) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	return p.last
}

// ask returns the error that the request's verifier has with its token.
func (p *nodeProcess) ask(ctx context.Context, request object) error {
	id, c := p.number(), make(chan nodeAnswer, 1)
	request["id"] = id
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if err := p.send(id, c, append(line, '\n')); err != nil {
		return err
	}
	select {
	case a := <-c:
		if a.Error != "" {
			return errors.New(a.Error)
		}
		return nil
	case <-p.ended:
		return errBroken
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *nodeProcess) send(id int, c chan<- nodeAnswer, line []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[id] = c
	_, err := p.in.Write(line)
	return err
}

// stop ends the process by ending its input.
func (p *nodeProcess) stop() {
	if p == nil {
		return
	}
	p.in.Close()
	<-p.ended
	_ = p.cmd.Wait() // what it had to say it said
}

// openNode opens a verifier of clients.mjs.
func openNode(kind string) func(*testing.T, *tenant, string) verify {
	return func(_ *testing.T, tn *tenant, alg string) verify {
		client := clients.number()
		return func(ctx context.Context, token string) error {
			return clients.ask(ctx, object{
				"client": client, "kind": kind, "jwks": tn.jwks,
				"issuer": tn.issuer, "audience": audience, "alg": alg, "token": token,
			})
		}
	}
}
