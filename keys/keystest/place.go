package keystest

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
)

// Place returns a writer for the text shown in a place, line by line. Close
// flushes the last line; the writer may be used after that. It is safe for
// concurrent use and never fails.
func (s *Shown) Place(name string) io.WriteCloser { return &lines{shown: s, name: name} }

// lines keeps whole lines, so that other places do not get between their parts.
type lines struct {
	shown *Shown
	name  string

	mu   sync.Mutex
	rest []byte // of a line
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	if end := bytes.LastIndexByte(l.rest, '\n') + 1; end > 0 {
		l.flushLine(end)
	} else if len(l.rest) > 1<<20 {
		l.flushLine(len(l.rest) - longest)
	}
	return len(p), nil
}

func (l *lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLine(len(l.rest))
	return nil
}

func (l *lines) flushLine(n int) {
	l.shown.appendShown(l.name, l.rest[:n])
	l.rest = l.rest[:copy(l.rest, l.rest[n:])]
}

// Tee copies this process's standard output and error until End. Call it first
// in TestMain.
func (s *Shown) Tee() {
	stdout, stderr := os.Stdout, os.Stderr
	endOut, endErr := s.teeFile(&os.Stdout, "standard output"), s.teeFile(&os.Stderr, "standard error")
	log.SetOutput(os.Stderr) // it kept the original; slog's default writes there too
	s.untee = func() {
		os.Stdout, os.Stderr = stdout, stderr
		log.SetOutput(stderr)
		endOut()
		endErr()
	}
}

// teeFile puts a pipe before a file; end returns when all of it went through.
func (s *Shown) teeFile(file **os.File, name string) (end func()) {
	original := *file
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	*file = w
	var reading sync.WaitGroup
	reading.Go(func() {
		place := s.Place(name)
		defer place.Close()
		_, _ = io.Copy(io.MultiWriter(original, place), r)
	})
	return func() { w.Close(); reading.Wait(); r.Close() }
}

// Transport reads along the headers and bodies of all responses that next gets.
func (s *Shown) Transport(next http.RoundTripper) http.RoundTripper { return &transport{s, next} }

type transport struct {
	shown *Shown
	next  http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	place := t.shown.Place("the response to " + r.Method + " " + r.URL.Path)
	_ = resp.Header.Write(place)
	resp.Body = &body{resp.Body, place}
	return resp, nil
}

// CloseIdleConnections lets a server of a test end.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// body is a response's, as far as it is read.
type body struct {
	io.ReadCloser
	place io.WriteCloser
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	_, _ = b.place.Write(p[:n])
	return n, err
}

func (b *body) Close() error {
	_ = b.place.Close()
	return b.ReadCloser.Close()
}
