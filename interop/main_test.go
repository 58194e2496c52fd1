package interop

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long something may take that must happen. It is more than
// the 30 seconds for which jose does not look again for a kid.
const patience = time.Minute

// limit is how long all tests may take. It ends what they started, too, which
// the timeout of go test would leave behind.
const limit = 9 * time.Minute

// What all tests share. scratch is a directory that every user may enter. clients
// is nil where there is no Node.js; noNode then says why.
var (
	scratch string
	trusted *authority
	keyward *program
	clients *nodeProcess
	noNode  error
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

// run is TestMain with defers.
func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	dir, err := workDir()
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	scratch = dir
	if trusted, err = newAuthority(dir); err != nil {
		return failed(err)
	}
	if keyward, err = startKeyward(ctx, dir); err != nil {
		return failed(err)
	}
	defer keyward.stop()
	clients, err = startNode(ctx, "node")
	if errors.Is(err, errNoNode) {
		noNode, err = err, nil
	}
	if err != nil {
		return failed(err)
	}
	defer clients.stop()
	manyAtOnce()
	if code = m.Run(); code != 0 {
		fmt.Fprintln(os.Stderr, "keyward dev said:\n"+keyward.output())
	}
	return code
}

// workDir is a directory that the user who runs PostgreSQL may pass through.
func workDir() (string, error) {
	dir, err := os.MkdirTemp("", "keyward-interop-")
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// manyAtOnce lets more tests run at once than there are processors, unless
// told otherwise: most of their time they wait for schedules and cooldowns.
func manyAtOnce() {
	const name = "test.parallel"
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == name })
	if !told {
		_ = flag.Set(name, "64") // it is a number
	}
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "interop:", err)
	return 1
}
