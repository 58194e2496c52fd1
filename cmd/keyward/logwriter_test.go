package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// blockedWriter is a pipe that nobody reads.
type blockedWriter struct{ entered, release chan struct{} }

func (w blockedWriter) Write(b []byte) (int, error) {
	w.entered <- struct{}{}
	<-w.release
	return len(b), nil
}

// Whoever logs waits for no reader; what does not fit is counted.
func TestALogThatNobodyReads(t *testing.T) {
	out := blockedWriter{make(chan struct{}, maxLogBacklog+1), make(chan struct{})}
	w := newAsyncWriter(out)
	log := slog.New(slog.NewTextHandler(w, nil))
	log.Info("first")
	<-out.entered // from now on lines queue
	for range maxLogBacklog + 7 {
		log.Info("next")
	}
	if n := w.droppedLines(); n != 7 {
		t.Errorf("%d lines dropped", n)
	}
	close(out.release)
	w.drain()
	if n := w.droppedLines(); n != 7 {
		t.Errorf("%d lines dropped in the end", n)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// Lines for a reader that has gone away are counted.
func TestALogWhoseReaderHasGoneAway(t *testing.T) {
	w := newAsyncWriter(brokenWriter{})
	fmt.Fprintln(w, "line")
	w.drain()
	if n := w.droppedLines(); n != 1 {
		t.Errorf("%d lines dropped", n)
	}
}

// An outage writes its first warning and then a count every so often; errors are all written.
func TestRepeatedWarningsAreSampled(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	log := slog.New(newSampler(slog.NewTextHandler(&out, nil), func() time.Time { return now })).With("process", "p")
	warn := func(n int, code string) {
		for range n {
			log.Warn("request failed", "code", code)
		}
	}
	warn(1000, "unavailable")
	warn(1, "other")
	for range 3 {
		log.Error("request failed", "code", "internal")
	}
	now = now.Add(sampleInterval)
	warn(10, "unavailable")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 6 || !strings.Contains(lines[5], "repeated=999") || strings.Count(out.String(), "level=ERROR") != 3 {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
}

// That no connection can be accepted is a warning; what port scanners cause is not.
func TestServerErrors(t *testing.T) {
	var out bytes.Buffer
	w := serverErrors{slog.New(slog.NewTextHandler(&out, nil))}
	io.WriteString(w, "http: TLS handshake error from 192.0.2.1: EOF\n")
	io.WriteString(w, "http: Accept error: accept tcp [::]:8080: accept4: too many open files; retrying in 5ms\n")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "too many open files") {
		t.Errorf("logged:\n%s", got)
	}
}

// A service whose log is a pipe without a reader goes on: SIGPIPE does not end it.
func TestABrokenPipeEndsNoService(t *testing.T) {
	if os.Getenv("KEYWARD_TEST_BROKEN_PIPE") != "" {
		p := &program{stderr: os.NewFile(2, "stderr")} // os.Stderr is one of the tests
		drain := p.startServiceLog()
		p.log.Error("nobody reads this")
		drain()
		os.Exit(int(40 + p.lines.droppedLines()))
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env, cmd.Stderr = append(os.Environ(), "KEYWARD_TEST_BROKEN_PIPE=1"), w
	_ = cmd.Run() // its exit code says how it ended
	if code := cmd.ProcessState.ExitCode(); code != 41 {
		t.Errorf("ended with %s, want exit code 41", cmd.ProcessState)
	}
}
