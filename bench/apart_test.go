package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// apart gives PostgreSQL the first core and this process the second, until undo
// is called. It skips a benchmark where that cannot be done.
func (p *platform) apart(b *testing.B) (undo func()) {
	conn, err := pgx.Connect(b.Context(), p.dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	var sessions []int
	if err := conn.QueryRow(b.Context(), "SELECT array_agg(pid) FROM pg_stat_activity").Scan(&sessions); err != nil {
		b.Fatal(err)
	}
	server, err := parent(int(conn.PgConn().PID()))
	if err != nil {
		b.Skip("PostgreSQL is not a process beside this one: ", err)
	}
	pin := func(cores string, pids ...int) {
		for _, pid := range pids { // a session may have ended
			if out, err := exec.Command("taskset", "-acp", cores, strconv.Itoa(pid)).CombinedOutput(); err != nil && (pid == server || pid == os.Getpid()) {
				b.Skipf("taskset: %v: %s", err, out)
			}
		}
	}
	sessions = append(sessions, server)
	pin("0", sessions...)
	pin("1", os.Getpid())
	return func() { pin("0,1", append(sessions, os.Getpid())...) }
}

// parent is the process that started another one.
func parent(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "\nPPid:\t")
	line, _, _ := strings.Cut(after, "\n")
	return strconv.Atoi(line)
}
