// Package keystest reads all that a package's tests made the program show, and
// fails the run if a private key is in it. Internal to Keyward: no compatibility
// promise.
//
// A TestMain starts it, the tests' harness tells it what was made and shown:
//
//	var shown = keystest.New()
//
//	func TestMain(m *testing.M) {
//		shown.Tee()
//		os.Exit(shown.End(m.Run()))
//	}
//
// It guarantees that 24 bytes in a row from the middle of a secret number are
// found raw, in hex, in both base64 alphabets however they fall on the groups
// of three, and printed by Go in decimal; also broken over lines, and with the
// line breaks escaped as in JSON. So a PKCS#8, PEM or JWK of the key is found.
// It never tells the secret, only the place.
//
// What is shown waits in a file for the keys that are learnt after it; memory
// holds a few kilobytes for each key. It trusts the tests to tell it all; what
// the runtime itself writes to descriptor 2 (a panic, which fails the run
// anyway) it does not see.
package keystest

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
)

// Shown is what the tests of a package have shown, and the keys that must not
// be in it. It is safe for concurrent use.
type Shown struct {
	mu      sync.Mutex // guards all below
	spool   *os.File   // nil before the first Write and after End
	buffer  *bufio.Writer
	size    int64
	places  []place
	err     error // the first one; what is not kept cannot be read
	secrets needles
	learnt  int

	untee func() // gives standard output and error back
}

// place says whose bytes begin at an offset of the spool.
type place struct {
	from int64
	name string
}

// New returns an empty record.
func New() *Shown { return &Shown{secrets: needles{}, untee: func() {}} }

// appendShown appends text shown in a place, without line breaks.
func (s *Shown) appendShown(name string, text []byte) {
	text = removeLineBreaks(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || len(text) == 0 {
		return
	}
	if s.spool == nil {
		if s.err = s.openSpool(); s.err != nil {
			return
		}
	}
	if n := len(s.places); n == 0 || s.places[n-1].name != name {
		s.places = append(s.places, place{s.size, name})
	}
	s.size += int64(len(text))
	_, s.err = s.buffer.Write(text)
}

// openSpool makes the spool. It has no name in the file system, so that nothing is
// left of it whatever ends the process.
func (s *Shown) openSpool() error {
	f, err := os.CreateTemp("", "keyward-shown-")
	if err != nil {
		return err
	}
	s.spool, s.buffer = f, bufio.NewWriterSize(f, 1<<16)
	return os.Remove(f.Name())
}

// End reads everything, says on standard error where a private key was shown,
// and returns the exit code of the run: code, or 1.
func (s *Shown) End(code int) int {
	s.untee()
	found, err := s.findSecrets()
	if err != nil {
		fmt.Fprintln(os.Stderr, "keystest: what was shown cannot be read:", err)
		code = max(code, 1)
	}
	for _, name := range found {
		fmt.Fprintln(os.Stderr, "keystest: a private key is shown in", name)
		code = max(code, 1)
	}
	if learnt, _ := s.Seen(); code == 0 && learnt == 0 && runsAllTests() {
		fmt.Fprintln(os.Stderr, "keystest: no private key was learnt, so nothing was looked for")
		code = 1
	}
	return code
}

// runsAllTests says whether all tests of the package were asked for.
func runsAllTests() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f == nil || f.Value.String() != "" {
			return false
		}
	}
	return true
}

// Seen tells how much there was to look at: keys, and bytes shown.
func (s *Shown) Seen() (learnt int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.learnt, s.size
}

// findSecrets names the places with a secret in them, and ends the spool.
func (s *Shown) findSecrets() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spool == nil || s.err != nil {
		return nil, s.err
	}
	defer s.spool.Close()
	s.err = errors.New("nothing is kept after the end")
	if err := s.buffer.Flush(); err != nil {
		return nil, err
	}
	if _, err := s.spool.Seek(0, 0); err != nil {
		return nil, err
	}
	return s.searchSpool(s.spool)
}
