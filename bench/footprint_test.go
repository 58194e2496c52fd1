package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
)

// footprint is what keyward serve takes once it is ready, with nothing to do.
type footprint struct {
	ready                   time.Duration // from its start to 200 of /readyz
	resident, own           float64       // memory in MB; own is what is no part of the program's file
	goroutines, connections float64
}

// BenchmarkFootprint builds keyward as it is released and starts keyward serve on
// two migrated databases, one without tenants and one with KEYWARD_BENCH_TENANTS.
func BenchmarkFootprint(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "keyward")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/keyward") // of its own module
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	emptyDSN, emptyURI := dbtest.New(b), newMaster(b)
	openPlatform(b, emptyDSN, emptyURI)
	manyDSN, manyURI := seeded(b, size(2000))
	var none, many []footprint
	for b.Loop() {
		none, many = append(none, start(b, binary, emptyDSN, emptyURI)), append(many, start(b, binary, manyDSN, manyURI))
	}
	of := func(all []footprint, value func(footprint) float64) float64 {
		var values []float64
		for _, f := range all {
			values = append(values, value(f))
		}
		return median(values)
	}
	ready := func(f footprint) float64 { return float64(f.ready.Microseconds()) / 1000 }
	b.ReportMetric(float64(info.Size())/1e6, "binary-MB")
	b.ReportMetric(of(none, ready), "ready-ms")
	b.ReportMetric(of(many, ready), "ready-many-ms")
	b.ReportMetric(of(many, func(f footprint) float64 { return f.resident }), "resident-MB")
	b.ReportMetric(of(many, func(f footprint) float64 { return f.own }), "own-MB")
	b.ReportMetric(of(many, func(f footprint) float64 { return f.goroutines }), "goroutines")
	b.ReportMetric(of(many, func(f footprint) float64 { return f.connections }), "connections")
}

var serving = regexp.MustCompile(`addr=(\S+)`)

// start starts the program, looks at it and stops it.
func start(b *testing.B, binary, dsn, uri string) (f footprint) {
	cmd := exec.CommandContext(b.Context(), binary, "serve", "--addr", "127.0.0.1:0", "--metrics")
	cmd.Env = append(os.Environ(), "KEYWARD_DATABASE_URL="+dsn, "KEYWARD_MASTER_KEY="+uri, "PGAPPNAME=footprint")
	log, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(log)
	addr := addrOf(b, lines)
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	for !isReady(addr) {
		time.Sleep(time.Millisecond)
	}
	f.ready = time.Since(began)
	time.Sleep(2 * time.Second) // what a start needs is given back
	f.resident, f.own = memory(b, cmd.Process.Pid)
	_, metrics := fetch(b, "http://"+addr+"/metrics")
	f.goroutines = metric(b, string(metrics), "go_goroutines")
	f.connections = connections(b, dsn)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return f
}

func addrOf(b *testing.B, log *bufio.Reader) string {
	for seen := ""; ; {
		line, err := log.ReadString('\n')
		if found := serving.FindStringSubmatch(line); found != nil && strings.Contains(line, "msg=serving") {
			return found[1]
		}
		if seen += line; err != nil {
			b.Fatal(seen)
		}
	}
}

func isReady(addr string) bool {
	res, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// memory is what the system has given to a process, in MB, and how much of it
// is not mapped from a file.
func memory(b *testing.B, pid int) (resident, own float64) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		b.Skip(err)
	}
	var size, pages, shared float64
	if _, err := fmt.Sscan(string(text), &size, &pages, &shared); err != nil {
		b.Fatal(err)
	}
	page := float64(os.Getpagesize()) / 1e6
	return pages * page, (pages - shared) * page
}

func metric(b *testing.B, text, name string) float64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no " + name)
	return 0
}

// connections counts those that the program holds.
func connections(b *testing.B, dsn string) (n float64) {
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	err = conn.QueryRow(b.Context(), "SELECT count(*)::float8 FROM pg_stat_activity WHERE application_name = 'footprint'").Scan(&n)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
