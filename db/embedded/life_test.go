//go:build unix

package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/embedded"
)

// dirVar makes the test binary a program that runs a server in the directory
// it names, prints the DSN, and stops when its standard input ends.
const dirVar = "EMBEDDED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirVar); dir != "" {
		serve(dir)
		return
	}
	os.Exit(m.Run())
}

func serve(dir string) {
	s, err := embedded.Start(context.Background(), embedded.Config{Dir: dir})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.DSN())
	io.Copy(io.Discard, os.Stdin)
	s.Stop(context.Background())
}

// child runs a server in a process of its own and returns its DSN.
func child(t *testing.T, cmd *exec.Cmd, dir string) (dsn string, stdin io.Closer) {
	t.Helper()
	cmd.Env = append(os.Environ(), dirVar+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return strings.TrimSpace(line), in
}

func TestServerEndsWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ties a process to its parent")
	}
	dir := newDir(t)
	stop(t, start(t, dir)) // skips where there are no binaries
	cmd := exec.Command(os.Args[0])
	dsn, _ := child(t, cmd, dir)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WaitForNotification(t.Context()); err == nil || !strings.Contains(err.Error(), "57P01") {
		t.Errorf("the session ended with %v, want admin_shutdown", err)
	}
	cmd.Wait() // only the last of its threads gives the lock back
	exec1(t, start(t, dir).DSN(), "SELECT 'started again'")
}

// Both are killed, and nobody has buried the server by the next start.
func TestBothKilled(t *testing.T) {
	dir := newDir(t)
	stop(t, start(t, dir))
	cmd := exec.Command(os.Args[0])
	dsn, _ := child(t, cmd, dir)
	exec1(t, dsn, "CREATE TABLE kept AS SELECT 'yes'::text AS answer")
	pid := postmaster(t, dir)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil { // so that it cannot reap
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	s := start(t, dir)
	if got := exec1(t, s.DSN(), "SELECT answer FROM kept"); got != "yes" {
		t.Errorf("after a crash the table holds %q, want yes", got)
	}
}

// A process of the killed server that has not noticed yet delays the start, no
// more.
func TestSlowProcessOfKilledServer(t *testing.T) {
	dir := newDir(t)
	s := start(t, dir)
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	slow := int(conn.PgConn().PID())
	if err := syscall.Kill(slow, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(slow, syscall.SIGKILL)
	syscall.Kill(s.PID(), syscall.SIGKILL)
	<-s.Done()
	done := make(chan struct{})
	go func() {
		defer close(done)
		waitForLog(t, dir, "shared memory block")
		syscall.Kill(slow, syscall.SIGKILL)
	}()
	exec1(t, start(t, dir).DSN(), "SELECT 'recovered'")
	<-done
}

// waitForLog returns when the server has written text to its log.
func waitForLog(t *testing.T, dir, text string) {
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		log, _ := os.ReadFile(filepath.Join(dir, "postgres.log"))
		if strings.Contains(string(log), text) {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return
		}
	}
}

// As on systems where the server is not tied to its parent.
func TestLeftoverServerIsStopped(t *testing.T) {
	dir := newDir(t)
	s := start(t, dir)
	stop(t, s)
	data := filepath.Join(s.Dir(), "data")
	leftover(t, data)
	pid := postmaster(t, dir)
	s = start(t, dir)
	if s.PID() == pid {
		t.Error("the left-over server still runs")
	}
	exec1(t, s.DSN(), "SELECT 'ours'")
}

func leftover(t *testing.T, data string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if len(found) == 0 {
		t.Skip("pg_ctl is not where Debian has it")
	}
	cmd := exec.Command(found[len(found)-1], "start", "-w", "-D", data, "-l", filepath.Join(data, "left.log"),
		"-o", "-c listen_addresses= -c unix_socket_directories="+data)
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Dir = "/"
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("all other tests show it")
	}
	dir := newDir(t)
	stop(t, start(t, dir))
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	mine := filepath.Join(filepath.Dir(dir), "mine")
	write(t, "", mine, "empty")
	if err := os.Chown(mine, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copyOf(t, os.Args[0], filepath.Dir(dir)))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	dsn, stdin := child(t, cmd, filepath.Join(mine, "pg"))
	exec1(t, dsn, "CREATE TABLE kept AS SELECT 'yes'::text AS answer")
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	// Root runs what it finds as the user it belongs to.
	s := start(t, filepath.Join(mine, "pg"))
	if got := exec1(t, s.DSN(), "SELECT answer FROM kept"); got != "yes" {
		t.Errorf("under root the table holds %q, want yes", got)
	}
}

// copyOf copies the test binary to where others can run it.
func copyOf(t *testing.T, program, dir string) string {
	t.Helper()
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "program")
	if err := os.WriteFile(name, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}
