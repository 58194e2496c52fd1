package db

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// A read ends when the other side stays silent, also after one that was answered; a
// deadline that is set counts instead, and so does one that has passed.
func TestReadsFromAConnectionEnd(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := &boundedConn{Conn: ours, limit: 50 * time.Millisecond}
	defer c.Close()
	buffer := make([]byte, 8)
	silent := func(what string) {
		t.Helper()
		if n, err := c.Read(buffer); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %d bytes, %v", what, n, err)
		}
	}
	silent("at first")
	go theirs.Write([]byte("answer"))
	c.limit = time.Minute
	if n, err := c.Read(buffer); string(buffer[:n]) != "answer" || err != nil {
		t.Errorf("read %q, %v", buffer[:n], err)
	}
	if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	silent("with a deadline that has passed")
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	silent("with a deadline")
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	c.limit = 50 * time.Millisecond
	silent("without it")
}
