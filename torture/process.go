package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// starter starts programs from one thread that lives as long as the campaign.
// Linux kills a child when the thread that started it ends; so all children end
// with the campaign, even if that is killed.
type starter struct{ orders chan func() }

func newStarter() *starter {
	s := &starter{orders: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for order := range s.orders {
			order()
		}
	}()
	return s
}

// start starts cmd in a process group of its own.
func (s *starter) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	s.orders <- func() { result <- cmd.Start() }
	return <-result
}

// span is a stretch of time.
type span struct{ from, to time.Time }

func (s span) overlaps(from, to time.Time) bool { return s.from.Before(to) && from.Before(s.to) }

// process is one process of Keyward, through all of its lives.
type process struct {
	name    string
	replica int    // its number; -1: a worker
	url     string // of a replica
	args    []string
	env     []string
	program string
	logFile string
	clock   *clock
	way     *way // to PostgreSQL
	starter *starter
	reading *way                // to the standby; nil without one
	cred    *syscall.Credential // nil: ourselves

	mu       sync.Mutex
	cmd      *exec.Cmd
	ended    chan struct{} // closed when cmd has ended
	wanted   bool          // it should be running: an end is its own doing
	absent   []span        // while it was dead or stopped
	lives    int
	onCrash  func(p *process, err error)
	bornLast time.Time
}

// start begins a life.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(p.program, p.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = p.env, log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred}
	if err := p.starter.start(cmd); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.ended, p.wanted, p.bornLast = cmd, ended, true, time.Now()
	p.lives++
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		unwanted := p.wanted && p.cmd == cmd
		p.mu.Unlock()
		close(ended)
		if unwanted {
			p.onCrash(p, fmt.Errorf("%s ended by itself: %v", p.name, err))
		}
	}()
	return nil
}

// signal sends a signal to the present life.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(sig) // it may have ended
	}
}

// end ends the present life by a signal and waits; after patience by SIGKILL.
// It reports whether SIGKILL was needed.
func (p *process) end(sig syscall.Signal, patience time.Duration) (killed bool) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.wanted = false
	p.mu.Unlock()
	if cmd == nil {
		return false
	}
	_ = cmd.Process.Signal(sig)
	select {
	case <-ended:
	case <-time.After(patience):
		killed = true
		_ = cmd.Process.Kill()
		<-ended
	}
	return killed
}

// away notes that the process cannot answer, until the function that it
// returns is called. What it was asked meanwhile may be answered late: a
// second more is granted.
func (p *process) away() (back func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := len(p.absent)
	p.absent = append(p.absent, span{time.Now().Add(-100 * time.Millisecond), time.Now().Add(time.Hour)})
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.absent[i].to = time.Now().Add(time.Second)
	}
}

// wasAway reports whether the process was dead or stopped at some time between.
func (p *process) wasAway(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.absent) - 1; i >= 0; i-- {
		if p.absent[i].overlaps(from, to) {
			return true
		}
	}
	return false
}

// born is when the present life began.
func (p *process) born() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bornLast
}

// logLines returns up to most lines of the log that contain a text.
func (p *process) logLines(text string, most int) []string {
	file, err := os.Open(p.logFile)
	if err != nil {
		return nil
	}
	defer file.Close()
	var lines []string
	scan := bufio.NewScanner(file)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() && len(lines) < most {
		if bytes.Contains(scan.Bytes(), []byte(text)) {
			lines = append(lines, shorten(scan.Text(), 600))
		}
	}
	return lines
}

// logSummary is what a process has written in all of its lives.
type logSummary struct {
	lines   int
	levels  map[string]int
	common  map[string]int // by message
	alarms  []string       // panics, fatal errors, data races
	secrets []string       // lines with something that looks like a credential
}

// readLog sums a log up.
func (p *process) readLog() logSummary {
	s := logSummary{levels: map[string]int{}, common: map[string]int{}}
	file, err := os.Open(p.logFile)
	if err != nil {
		return s
	}
	defer file.Close()
	scan := bufio.NewScanner(file)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := scan.Text()
		s.lines++
		var entry struct{ Level, Msg string }
		if json.Unmarshal(scan.Bytes(), &entry) == nil {
			s.levels[entry.Level]++
			s.common[entry.Level+" "+entry.Msg]++
		}
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.Contains(line, "DATA RACE") {
			s.alarms = append(s.alarms, shorten(line, 300))
		}
		if looksSecret.MatchString(line) {
			s.secrets = append(s.secrets, "a line of "+p.name+" contains a credential or private key")
		}
	}
	return s
}

func shorten(s string, most int) string {
	if len(s) > most {
		return s[:most] + " …"
	}
	return s
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until tries again and again, every 50 ms, until try returns nil.
func until(ctx context.Context, patience time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("not within %v: %w", patience, err)
		}
	}
}

// pid is the process id of the present life, 0 if there was none.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
