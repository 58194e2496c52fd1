package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-jose/go-jose/v4"
)

// terminal returns a pseudo terminal, and a function that closes it and returns
// its output.
func terminal(t *testing.T) (tty *os.File, shows func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	var number, unlock int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	if tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	seen := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(master) // fails when the terminal is closed
		seen <- string(text)
	}()
	return tty, func() string { tty.Close(); return <-seen }
}

// atTerminal runs the program with a terminal as stderr.
func atTerminal(t *testing.T, env environ, args ...string) (r result) {
	t.Helper()
	tty, shows := terminal(t)
	var stdout bytes.Buffer
	place := shown.Place("the output of " + t.Name())
	defer place.Close()
	r.code = runProgram(t.Context(), args, strings.NewReader(""), io.MultiWriter(&stdout, place), tty, env.get)
	r.stdout, r.stderr = stdout.String(), shows()
	_, _ = io.WriteString(place, r.stderr)
	return r
}

func TestProgress(t *testing.T) {
	tty, shows := terminal(t)
	bar := (&program{stderr: tty}).newProgress("keys", 3)
	for range 3 {
		bar.add(1)
		time.Sleep(200 * time.Millisecond) // longer than the interval of drawing, 100 ms
	}
	bar.done()
	if screen := shows(); !strings.Contains(screen, "(0/3") || !strings.Contains(screen, "(2/3") || !strings.HasSuffix(screen, " \r") {
		t.Errorf("%q", screen)
	}
	var lines bytes.Buffer
	bar = (&program{stderr: &lines}).newProgress("keys", 3)
	bar.add(1)
	bar.next = time.Now()
	bar.add(1)
	bar.add(1)
	if bar.done(); lines.String() != "2 of 3 keys\n" {
		t.Errorf("%q", &lines)
	}
}

// A terminal shows the progress of long work; stdout is the same as without
// one.
func TestProgressAtATerminal(t *testing.T) {
	env := served(t)
	var set jose.JSONWebKeySet
	for i := range 3 {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: newKey(t).Public(), KeyID: "k" + strconv.Itoa(i), Algorithm: "EdDSA"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "set.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := atTerminal(t, env, "import-from", "hydra", file, "--tenant=acme", "--yes", "--json")
	var said struct{ Keys []stepReport }
	if unmarshal(t, []byte(r.stdout), &said); r.code != exitOK || len(said.Keys) != 3 || !strings.Contains(r.stderr, "(0/3, 0 keys") {
		t.Errorf("%+v", r)
	}

	env = deployed(t)
	tenants(t, env, "a", "b", "c")
	r = atTerminal(t, env, "master", "rotate")
	if r.code != exitOK || !strings.HasPrefix(r.stdout, "3 data keys are wrapped by version ") || !strings.Contains(r.stderr, "(0/3, 0 data keys") {
		t.Errorf("%+v", r)
	}
	if r := keyward(t, env, "master", "rotate"); r.code != exitOK || strings.ContainsAny(r.stderr, "\r%") {
		t.Errorf("%+v", r)
	}
}
