package main

import (
	"io"
	"log/slog"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxLogBacklog   = 4096            // lines that wait for a slow reader of the log
	logDrainTimeout = 2 * time.Second // for the last lines, when the process ends
)

// asyncWriter passes lines of the log on from a goroutine of its own, so that nobody
// who logs waits for a reader that has stopped reading, nor notices one that has gone
// away. Lines beyond the backlog are dropped and counted.
type asyncWriter struct {
	out     io.Writer
	queue   chan queuedLine
	dropped atomic.Int64
}

// queuedLine is a line, or the request to say when all lines before it are written.
type queuedLine struct {
	text    []byte
	reached chan<- struct{}
}

// newAsyncWriter starts a writer to out. Its goroutine lives as long as the process.
func newAsyncWriter(out io.Writer) *asyncWriter {
	w := &asyncWriter{out: out, queue: make(chan queuedLine, maxLogBacklog)}
	go w.run()
	return w
}

func (w *asyncWriter) run() {
	for line := range w.queue {
		if line.reached != nil {
			close(line.reached)
		} else if _, err := w.out.Write(line.text); err != nil {
			w.dropped.Add(1) // the reader has gone away: there is nobody to tell
		}
	}
}

// Write queues one line. It never blocks and never fails.
func (w *asyncWriter) Write(line []byte) (int, error) {
	select {
	case w.queue <- queuedLine{text: append([]byte(nil), line...)}:
	default:
		w.dropped.Add(1)
	}
	return len(line), nil
}

// drain waits until all lines queued before it are written, at most logDrainTimeout.
func (w *asyncWriter) drain() {
	timeout := time.After(logDrainTimeout)
	reached := make(chan struct{})
	select {
	case w.queue <- queuedLine{reached: reached}:
	case <-timeout:
		return
	}
	select {
	case <-reached:
	case <-timeout:
	}
}

// droppedLines counts the lines that were not written. It works without a writer too.
func (w *asyncWriter) droppedLines() int64 {
	if w == nil {
		return 0
	}
	return w.dropped.Load()
}

// startServiceLog makes the log independent of its reader, and samples it. A reader that
// goes away ends other commands (SIGPIPE), but not a service. Call the returned function
// when the service has ended.
func (p *program) startServiceLog() (drain func()) {
	signal.Ignore(syscall.SIGPIPE)
	p.lines = newAsyncWriter(p.stderr)
	p.log = slog.New(newSampler(p.cfg.logHandler(p.lines), time.Now))
	return p.lines.drain
}
