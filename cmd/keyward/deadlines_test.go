package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// Deadlines of guarded connections are kept as those of the connections below would be, but
// for the moment.
func TestDeadlinesOfGuardedConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	guarded := guardConns(&http.Server{}, l, 10, slog.New(slog.DiscardHandler))
	defer guarded.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := guarded.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g := conn.(*guardedConn).guard
	readByte := func() error {
		_, err := conn.Read(make([]byte, 1))
		return err
	}
	send := func() {
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(what string, err error, over bool) {
		t.Helper()
		if errors.Is(err, os.ErrDeadlineExceeded) != over || !over && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	now := time.Now()
	set := func(at time.Time) {
		if err := conn.SetReadDeadline(at); err != nil {
			t.Fatal(err)
		}
	}

	set(now.Add(time.Hour))
	send()
	wants("a read before its deadline", readByte(), false)

	blocked := make(chan error)
	go func() { blocked <- readByte() }()
	g.sweep(now.Add(time.Hour))
	wants("a read that waited until its deadline", <-blocked, true)
	send()
	wants("a read behind the deadline", readByte(), true)
	set(time.Time{})
	wants("a read once the deadline is taken back", readByte(), false)

	go func() { blocked <- readByte() }()
	set(time.Unix(1, 0)) // as net/http ends a read in the background
	wants("a read that is interrupted", <-blocked, true)
	set(now.Add(3 * time.Hour))
	send()
	wants("a read with a new deadline after an interruption", readByte(), false)

	if err := conn.SetWriteDeadline(now.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	write := func() error { _, err := conn.Write([]byte("x")); return err }
	g.sweep(now.Add(2*time.Hour - time.Second))
	wants("a write before its deadline", write(), false)
	g.sweep(now.Add(2 * time.Hour))
	wants("a write behind its deadline", write(), true)
	if err := conn.SetDeadline(now.Add(4 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	wants("a write with a new deadline", write(), false)

	conn.Close()
	if g.sweep(now) {
		t.Error("a server without connections still compares deadlines")
	}
}

// A client that sends its request too slowly is cut off, though no timer waits for it.
func TestSweepRunsWhileConnectionsAreOpen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Millisecond}
	guarded := guardConns(s, l, 10, slog.New(slog.DiscardHandler))
	go func() { _ = s.Serve(guarded) }()
	defer s.Close()
	g := guarded.(*guardedListener).guard
	isSweeping := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.sweeping
	}
	for range 2 { // the sweep ends with the first connection, and begins again
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = client.Write([]byte("GET /")) // the server may have closed it by now
		answer, _ := io.ReadAll(client)      // as long as the server waits, which may reset the connection
		if strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("half a request was answered by %q", answer)
		}
		client.Close()
		comes(t, "the sweep ends", func() bool { return !isSweeping() })
	}
}
