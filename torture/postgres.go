package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
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

// mountSmall puts a file system in memory where the cluster is to be, if that is
// allowed here. A helper takes it away again, also if the campaign is killed.
func (p *postgres) mountSmall() {
	if exec.Command("mount", "-t", "tmpfs", "-o", "size=1g,mode=0700", "keyward-torture", p.dir).Run() != nil {
		return
	}
	end, err := helpAtTheEnd(`umount -l "$1"`, p.dir)
	if err != nil {
		_ = exec.Command("umount", "-l", p.dir).Run()
		return
	}
	p.small, p.unmount = true, end
}

// helpAtTheEnd starts a shell that runs a script as soon as end is called, or as
// this program ends in any other way.
func helpAtTheEnd(script string, args ...string) (end func(), err error) {
	helper := exec.Command("sh", append([]string{"-c", "read end; " + script, "sh"}, args...)...)
	helper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of Ctrl-C
	input, err := helper.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := helper.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = input.Close()
		_ = helper.Wait() // what it was to do may have been done
	}, nil
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

// fill leaves no room on the small file system; empty gives it back, and starts
// the server again should it have given up.
func (p *postgres) fill() (empty func() error, err error) {
	name := p.path("filler")
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size := int64(0)
	for chunk := int64(16 << 20); chunk >= 4<<10; chunk /= 2 {
		for syscall.Fallocate(int(file.Fd()), 0, size, chunk) == nil {
			size += chunk
		}
	}
	return func() error { return errors.Join(os.Remove(name), p.revive(context.Background())) }, nil
}

// revive waits until the server takes connections, and starts it if it has ended.
func (p *postgres) revive(ctx context.Context) error {
	return until(ctx, time.Minute, func() error {
		p.mu.Lock()
		ended := p.ended
		p.mu.Unlock()
		select {
		case <-ended:
			return p.start(ctx)
		default:
		}
		conn, err := p.connect(ctx, "postgres", "postgres")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
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
		"-c", "shared_buffers=64MB", "-c", "max_wal_size=128MB", "-c", "autovacuum_naptime=10s", "-c", "log_connections=off")
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

func (p *postgres) addr() string    { return fmt.Sprintf("127.0.0.1:%d", p.port) }
func (p *postgres) logFile() string { return filepath.Join(filepath.Dir(p.dir), "postgres.log") }

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

// pids are the postmaster's and its children's process ids.
func (p *postgres) pids() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	all := []int{p.cmd.Process.Pid}
	out, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.cmd.Process.Pid))
	for _, field := range bytes.Fields(out) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// freeze stops all processes of the server; thaw lets them go on. A helper
// thaws them too if the campaign dies meanwhile: they would stay for good.
func (p *postgres) freeze() (thaw func(), err error) {
	pids := p.pids()
	if len(pids) == 0 {
		return nil, errors.New("PostgreSQL does not run")
	}
	_ = syscall.Kill(pids[0], syscall.SIGSTOP) // first the postmaster, so that no children are added
	pids = p.pids()
	thaw, err = helpAtTheEnd(`kill -CONT "$@"`, strings.Fields(strings.Trim(fmt.Sprint(pids), "[]"))...)
	if err != nil {
		_ = syscall.Kill(pids[0], syscall.SIGCONT)
		return nil, err
	}
	for _, pid := range pids[1:] {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return thaw, nil
}

// reload lets the server read its settings again.
func (p *postgres) reload() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(syscall.SIGHUP)
	}
}

// deadlocks returns what the server's log says of each deadlock: the moment,
// and the statements that were caught in it.
func (p *postgres) deadlocks() []string {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return nil
	}
	var all []string
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if !strings.Contains(line, "deadlock detected") {
			continue
		}
		entry := line
		for _, more := range lines[i+1:] { // DETAIL goes on in lines that begin with a tab
			if !strings.HasPrefix(more, "\t") && !strings.Contains(more, "DETAIL:") {
				break
			}
			if _, who, found := strings.Cut(more, "Process "); found { // who waits for whom, and the first line of what each was doing
				entry += " | Process " + shorten(who, 200)
			}
		}
		all = append(all, entry)
	}
	return all
}

var errorLine = regexp.MustCompile(`(?m)^\S+ \S+ \S+ \[\d+\] (\S*) *(ERROR|FATAL|PANIC): +(.*)$`)

// errors counts the errors in the server's log by what they say, without the
// numbers and names in it.
func (p *postgres) errors() map[string]int {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return nil
	}
	counts := map[string]int{}
	for _, line := range errorLine.FindAllStringSubmatch(string(text), -1) {
		if line[1] != "torture" {
			counts[shorten(varying.ReplaceAllString(line[3], "…"), 100)]++
		}
	}
	return counts
}

var varying = regexp.MustCompile(`\d+`)

// freePort asks the kernel for a port that nobody has.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
