package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is a server of the campaign's own, made of the machine's binaries.
// What it commits survives the death of any of its processes; it does not wait
// for the disk, because nobody pulls a plug here.
type postgres struct {
	bin, dir string
	port     int
	cred     *syscall.Credential // nil: ourselves
	starter  *starter
	small    bool   // dir is a small file system of its own, which can be filled
	unmount  func() // nil unless small
	logName  string // empty: postgres.log

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// findBinaries finds initdb and postgres: in KEYWARD_PG_BIN, else where
// pg_config says, else where Debian puts them, the newest first.
func findBinaries() (string, error) {
	dirs := []string{os.Getenv("KEYWARD_PG_BIN")}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed
	slices.Reverse(installed)
	for _, dir := range append(dirs, installed...) {
		if dir == "" {
			continue
		}
		_, err1 := os.Stat(filepath.Join(dir, "initdb"))
		_, err2 := os.Stat(filepath.Join(dir, "postgres"))
		if errors.Join(err1, err2) == nil {
			return dir, nil
		}
	}
	return "", errors.New("no PostgreSQL server on this machine; set KEYWARD_PG_BIN or run deploy/ensure-postgres")
}

// startPostgres makes a cluster in dir and starts it. What it returns is to be
// closed, also where there is an error, unless it is nil.
func startPostgres(ctx context.Context, s *starter, dir string) (*postgres, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	p := &postgres{bin: bin, dir: dir, starter: s}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		p.mountSmall()
		if err := p.giveAway(); err != nil {
			return p, err
		}
	}
	if p.port, err = freePort(); err != nil {
		return p, err
	}
	init := p.command("initdb", "-D", p.path("data"), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale")
	if out, err := init.CombinedOutput(); err != nil {
		return p, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return p, p.start(ctx)
}

// close ends the server at once, whatever state it is in.
func (p *postgres) close() {
	for _, pid := range p.pids() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	p.stop(syscall.SIGQUIT)
	if p.unmount != nil {
		p.unmount()
	}
}

func (p *postgres) giveAway() error {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		p.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(p.dir, uid, gid)
	}
	return errors.New("PostgreSQL cannot run as root, and there is neither a user postgres nor nobody")
}

func (p *postgres) path(name string) string { return filepath.Join(p.dir, name) }

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + p.bin + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred}
	return cmd
}

// start starts the server and waits until it takes connections.
func (p *postgres) start(ctx context.Context) error {
	return until(ctx, time.Minute, func() error {
		// After a crash a process of the dead server may still have its memory.
		if err := p.launch(); err != nil {
			return err
		}
		return p.awaitReady(ctx)
	})
}

func (p *postgres) launch() error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.command("postgres", "-D", p.path("data"),
		"-c", "listen_addresses=127.0.0.1", "-c", fmt.Sprintf("port=%d", p.port), "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=60", "-c", "superuser_reserved_connections=5",
		"-c", "track_commit_timestamp=on", "-c", "log_lock_waits=on", "-c", "log_line_prefix=%m [%p] %a ", "-c", "timezone=UTC", "-c", "log_timezone=UTC",
		"-c", "shared_buffers=64MB", "-c", "max_wal_size=128MB", "-c", "autovacuum_naptime=10s", "-c", "log_connections=off", "-c", "wal_keep_size=64MB")
	cmd.Stdout, cmd.Stderr = log, log
	if err := p.starter.start(cmd); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.ended = cmd, ended
	return nil
}

func (p *postgres) awaitReady(ctx context.Context) error {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	return until(ctx, time.Minute, func() error {
		select {
		case <-ended:
			return errors.New("PostgreSQL ended while starting")
		default:
		}
		conn, err := p.connect(ctx, "postgres", "postgres")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// connect connects directly, past all proxies.
func (p *postgres) connect(ctx context.Context, role, database string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return pgx.Connect(ctx, fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable&application_name=torture", role, p.addr(), database))
}

// admin runs statements as a superuser in Keyward's database.
func (p *postgres) admin(ctx context.Context, statements ...string) error {
	conn, err := p.connect(ctx, "postgres", "keyward")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (p *postgres) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// stop sends a signal to the postmaster and waits until it has ended: SIGINT
// ends sessions in order, SIGQUIT at once, SIGKILL leaves that to its children.
func (p *postgres) stop(sig syscall.Signal) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
	}
}

// freePort asks the kernel for a port that nobody has.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
