package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows the progress of a long operation on stderr: a bar on a
// terminal, else a line every few seconds.
type progress struct {
	bar   *progressbar.ProgressBar
	w     io.Writer
	what  string
	n     int
	total int // below 0: unknown
	next  time.Time
}

// progressInterval is the time between two lines.
const progressInterval = 10 * time.Second

func (p *program) newProgress(what string, total int) *progress {
	g := &progress{w: p.stderr, what: what, total: total, next: time.Now().Add(progressInterval)}
	if isTerminal(p.stderr) {
		g.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(p.stderr), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(what),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetSpinnerChangeInterval(0)) // else it draws from a goroutine that races with ChangeMax
	}
	return g
}

func (g *progress) add(n int) { g.set(g.n+n, g.total) }

func (g *progress) set(n, total int) {
	g.n, g.total = n, total
	if g.bar != nil {
		if total > 0 {
			g.bar.ChangeMax(total)
		}
		_ = g.bar.Set(n) // a failure to draw is ignored
		return
	}
	if time.Now().Before(g.next) {
		return
	}
	g.next = time.Now().Add(progressInterval)
	if total > 0 {
		fmt.Fprintf(g.w, "%d of %d %s\n", n, total, g.what)
		return
	}
	fmt.Fprintf(g.w, "%d %s\n", n, g.what)
}

// done removes the bar.
func (g *progress) done() {
	if g.bar != nil {
		_ = g.bar.Finish()
	}
}
