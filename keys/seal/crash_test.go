package seal_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/seal"
)

// crashEnv makes this test binary a process that adds versions to the master
// key it names, and prints each, until it is killed.
const crashEnv = "KEYWARD_TEST_SEAL_ADD_VERSIONS"

func TestMain(m *testing.M) {
	if uri := os.Getenv(crashEnv); uri != "" {
		addVersions(uri)
	}
	os.Exit(m.Run())
}

func addVersions(uri string) {
	for {
		r, err := seal.Open(context.Background(), uri)
		if err == nil {
			var v string
			v, err = r.AddVersion(context.Background())
			fmt.Println(v)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// Processes that write are killed at whatever point they are. The file stays
// whole, every version they reported is in it, and the lock is free again.
func TestKilledWhileAddingVersions(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := newRing(t)
	for round := range 5 {
		for _, v := range killAfter(t, exe, r.URI(), 3+round) {
			if _, err := r.Key(t.Context(), v); err != nil {
				t.Errorf("a version that was reported is lost: %v", err)
			}
		}
		if v := addVersion(t, r); !slices.Contains(r.Versions(), v) {
			t.Error("AddVersion after the crash")
		}
		temp := strings.TrimPrefix(r.URI(), "file:") + ".new"
		if _, err := os.Lstat(temp); !os.IsNotExist(err) {
			t.Errorf("what the crash left is still there: %v", err)
		}
	}
}

// killAfter kills the process when it has reported n versions, and returns
// these and what it had written by then.
func killAfter(t *testing.T, exe, uri string, n int) (reported []string) {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+uri)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		reported = append(reported, lines.Text())
		if len(reported) == n {
			_ = cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil || len(reported) < n {
		t.Fatalf("it ended by itself after %d versions: %v", len(reported), err)
	}
	return reported
}

// A file left by a crash between writing and publishing is in nobody's way.
func TestInitAfterACrash(t *testing.T) {
	uri := uriIn(t)
	temp := strings.TrimPrefix(uri, "file:") + ".new"
	if err := os.WriteFile(temp, []byte("half a keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(temp); !os.IsNotExist(err) {
		t.Errorf("what the crash left is still there: %v", err)
	}
}
