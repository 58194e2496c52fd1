//go:build unix

package dbtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/embedded"
)

func TestServerComesBack(t *testing.T) {
	s := NewServer(t)
	url := s.DSN()
	Exec(t, url, "CREATE TABLE kept AS SELECT 'yes'::text AS answer")
	for name, end := range map[string]func(){"stop": s.Stop, "kill": s.Kill} {
		end()
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Errorf("%s: the server still answers", name)
		}
		s.Start()
		if got := ask(t, url, "SELECT answer FROM kept"); got != "yes" {
			t.Errorf("%s: the table holds %q, want yes", name, got)
		}
	}
	s.Restart()
	if s.DSN() != url {
		t.Errorf("DSN = %s, was %s", s.DSN(), url)
	}
}

// victimVar makes the test binary one that starts a server, says where, and
// waits to be killed.
const victimVar = "DBTEST_VICTIM"

func victim() {
	s, err := startEmbedded(context.Background())
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println(s.url)
	io.Copy(io.Discard, os.Stdin)
}

func TestNothingIsLeftOfAKilledProcess(t *testing.T) {
	cluster := killedVictim(t)
	deadline, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if _, err := os.Stat(cluster); errors.Is(err, os.ErrNotExist) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.Done():
			t.Fatalf("%s is still there", cluster)
		}
	}
}

// killedVictim returns the directory of a process' cluster once its server
// has ended.
func killedVictim(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVar+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, _ := bufio.NewReader(out).ReadString('\n')
	if strings.Contains(line, embedded.ErrNoBinaries.Error()) {
		t.Skip(line)
	}
	conn, err := pgx.Connect(t.Context(), strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	defer conn.Close(context.Background())
	cmd.Process.Kill()
	_, err = conn.WaitForNotification(t.Context())
	if err == nil || t.Context().Err() != nil {
		t.Fatalf("the server goes on: %v", err)
	}
	return filepath.Dir(conn.Config().Host) // the socket's directory is in it
}
