package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// pooledReplica is the replica that reaches PostgreSQL through PgBouncer, and listens past
// it.
const pooledReplica = 2

// pooler is PgBouncer in transaction mode, with fewer connections than its clients want.
type pooler struct {
	*process
	port int
}

// findPooler returns PgBouncer's program: Debian's is not in everybody's PATH.
func findPooler() (string, error) {
	if program, err := exec.LookPath("pgbouncer"); err == nil {
		return program, nil
	}
	const debian = "/usr/sbin/pgbouncer"
	_, err := os.Stat(debian)
	return debian, err
}

// addPooler starts PgBouncer, or says why there is none.
func (c *campaign) addPooler(ctx context.Context) error {
	program, err := findPooler()
	if err != nil {
		c.leaveOut("pooler", "No replica was behind PgBouncer: it is not installed.")
		return nil
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	config := filepath.Join(c.dir, "pgbouncer.ini")
	err = os.WriteFile(config, fmt.Appendf(nil, `[databases]
keyward = host=127.0.0.1 port=%d user=keyward
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
server_login_retry = 1
server_connect_timeout = 3
`, c.postgres.port, port), 0o644)
	if err != nil {
		return err
	}
	p := &process{
		name: "pooler", replica: -1, program: program, args: []string{config}, starter: c.starter,
		logFile: filepath.Join(c.dir, "pgbouncer.log"), env: []string{"PATH=/usr/bin:/bin"}, cred: c.postgres.cred,
	}
	p.onCrash = func(p *process, err error) { c.record.note("%v, and was started again.", err); _ = p.start() }
	c.pooler = &pooler{p, port}
	if err := p.start(); err != nil {
		return err
	}
	return until(ctx, time.Minute, func() error {
		conn, err := pgx.Connect(ctx, "postgres://keyward@"+c.pooler.addr()+"/keyward?sslmode=disable&default_query_exec_mode=simple_protocol")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

func (p *pooler) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

func killPooler(_ context.Context, c *campaign, _ *process) (func() error, error) {
	c.pooler.end(syscall.SIGKILL, time.Second)
	return c.pooler.start, nil
}

func stopPooler(_ context.Context, c *campaign, _ *process) (func() error, error) {
	c.pooler.signal(syscall.SIGSTOP)
	return func() error { c.pooler.signal(syscall.SIGCONT); return nil }, nil
}
