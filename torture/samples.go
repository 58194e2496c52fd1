package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// series is what one line of a picture shows.
type series struct {
	name   string
	points []point
}

// point is a value, so long after the beginning.
type point struct {
	after time.Duration
	value float64
}

// chart is one picture of the soak.
type chart struct {
	file, title, unit string
	says              string // in the page, below the picture
	lines             []*series
}

// add adds a point to the line with a name.
func (c *chart) add(name string, after time.Duration, value float64) {
	for _, s := range c.lines {
		if s.name == name {
			s.points = append(s.points, point{after, value})
			return
		}
	}
	c.lines = append(c.lines, &series{name, []point{{after, value}}})
}

// sampler records what may grow or get late in the course of a campaign.
type sampler struct {
	*campaign
	every time.Duration
	began time.Time

	mu                                           sync.Mutex
	memory, connections, sizes, dead, late, open chart
	failed                                       int // samples that PostgreSQL did not answer
}

// samplesKeptEver is about how many samples a campaign takes, however long it is.
const samplesKeptEver = 400

func newSampler(c *campaign) *sampler {
	return &sampler{
		campaign: c, every: max(time.Second, c.options.duration/samplesKeptEver), began: time.Now(),
		memory:      chart{file: "memory", title: "Resident memory of each process", unit: "MB", says: "A process that was killed or restarted begins anew."},
		connections: chart{file: "connections", title: "Connections to PostgreSQL", unit: "", says: "By process, the one that listens included."},
		open:        chart{file: "files", title: "Open file descriptors of each process", unit: "", says: "Sockets of clients included."},
		sizes:       chart{file: "tables", title: "Size of tables with indexes", unit: "MB", says: "The history (`audit_events`) is kept for ever, and so are the rows of purged keys and deleted tenants, which the clients make all the time; stored answers (`idempotency_keys`) are kept for a day. The others must not grow."},
		dead:        chart{file: "bloat", title: "Dead rows that wait for autovacuum", unit: "%", says: "Of all rows of a table. Tables with fewer than 200 rows are left out."},
		late:        chart{file: "lateness", title: "Overdue scheduled work", unit: "s", says: "How late the oldest due policy is. A policy is due every 10 to 20 s here; every fault that stops the workers or PostgreSQL shows."},
	}
}

func (s *sampler) charts() []*chart {
	return []*chart{&s.memory, &s.connections, &s.open, &s.sizes, &s.dead, &s.late}
}

// run takes samples until ctx is over.
func (s *sampler) run(ctx context.Context) {
	for pause(ctx, s.every) == nil {
		s.sampleProcesses()
		if err := s.sampleDatabase(ctx); err != nil && ctx.Err() == nil {
			s.mu.Lock()
			s.failed++
			s.mu.Unlock()
		}
	}
}

func (s *sampler) sampleProcesses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := time.Since(s.began)
	for _, p := range s.processes {
		pid := p.pid()
		if pages, err := residentPages(pid); err == nil {
			s.memory.add(p.name, after, float64(pages*os.Getpagesize())/1e6)
		}
		if files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
			s.open.add(p.name, after, float64(len(files)))
		}
	}
}

// residentPages reads the second field of /proc/PID/statm, proc(5).
func residentPages(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm is %q", pid, text)
	}
	return strconv.Atoi(string(fields[1]))
}

func (s *sampler) sampleDatabase(ctx context.Context) error {
	conn, err := s.postgres.connect(ctx, "postgres", "keyward")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	read := func(into *chart, query string) error {
		rows, err := conn.Query(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var value float64
			if err := rows.Scan(&name, &value); err != nil {
				return err
			}
			s.mu.Lock()
			into.add(name, time.Since(s.began), value)
			s.mu.Unlock()
		}
		return rows.Err()
	}
	for _, sample := range []struct {
		into  *chart
		query string
	}{
		{&s.connections, `SELECT application_name, count(*)::float8 FROM pg_stat_activity
			WHERE datname = 'keyward' AND application_name ~ '^(replica|worker)-' GROUP BY 1`},
		{&s.sizes, `SELECT CASE WHEN relname IN ('audit_events', 'keys', 'idempotency_keys', 'tenants', 'policies', 'processes') THEN relname ELSE 'all others' END,
			(sum(pg_total_relation_size(relid)) / 1e6)::float8 FROM pg_stat_user_tables WHERE schemaname = 'public' GROUP BY 1`},
		{&s.dead, `SELECT relname, (100.0 * n_dead_tup / (n_live_tup + n_dead_tup))::float8 FROM pg_stat_user_tables
			WHERE schemaname = 'public' AND n_live_tup + n_dead_tup >= 200`},
		{&s.late, `SELECT 'oldest due policy', greatest(COALESCE(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0)::float8 FROM policies WHERE due_at IS NOT NULL`},
	} {
		if err := read(sample.into, sample.query); err != nil {
			return err
		}
	}
	return nil
}

// write writes the page of the soak, and its pictures beside it.
func (s *sampler) write(page string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "# Keyward over time\n\nFor operators: what memory, connections, tables and schedule do while Keyward works and faults come and go. ")
	fmt.Fprintf(&b, "Written by `make torture-soak` (torture/README.md): seed %d, %v, a fault about every %v, %d replicas, %d workers, %d tenants, one PostgreSQL, all on one machine with %d cores, %s.\n\n",
		s.options.seed, s.options.duration, s.options.gap, replicaCount, workerCount, len(s.tenants)+1, runtime.NumCPU(), time.Now().UTC().Format("2006-01-02 15:04"))
	if load := machineLoad(); load != "" {
		fmt.Fprintf(&b, "The load average of the machine was %s at the end.", load)
		if nice := niceness(); nice > 0 {
			fmt.Fprintf(&b, " The campaign ran with nice %d: where other work fills the cores, its processes wait for it, and bounds of time are missed.", nice)
		}
		b.WriteString("\n\n")
	}
	fmt.Fprintf(&b, "%s %d faults, %d requests, a sample every %v; %d samples have no answer by PostgreSQL, which was away or frozen.\n\n", s.record.result(), s.record.countRuns(), s.record.requests(), s.every.Round(time.Second), s.failed)
	s.record.writeBroken(&b)
	base := strings.TrimSuffix(filepath.Base(page), filepath.Ext(page))
	for _, c := range s.charts() {
		name := base + "-" + c.file + ".svg"
		if err := os.WriteFile(filepath.Join(filepath.Dir(page), name), []byte(c.svg(s.record.faultSpans(s.began))), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&b, "## %s\n\n![%s](%s)\n\n%s\n\n", c.title, c.title, name, c.says)
		c.writeQuarters(&b)
	}
	b.WriteString("Grey bands are faults.\n")
	return os.WriteFile(page, []byte(b.String()), 0o644)
}

// writeQuarters writes the median of each line in the first and in the last quarter of the
// time, and its largest value: what grows for ever shows there.
func (c *chart) writeQuarters(b *strings.Builder) {
	fmt.Fprintf(b, "| %s | median of the first quarter | of the last quarter | largest |\n| --- | ---: | ---: | ---: |\n", strings.TrimSpace(c.unit+" "))
	for _, s := range c.sorted() {
		n := max(1, len(s.points)/4)
		largest := slices.MaxFunc(s.points, func(x, y point) int { return int(sign(x.value - y.value)) }).value
		fmt.Fprintf(b, "| %s | %.3g | %.3g | %.3g |\n", s.name, median(s.points[:n]), median(s.points[len(s.points)-n:]), largest)
	}
	b.WriteString("\n")
}

func (c *chart) sorted() []*series {
	return slices.SortedFunc(slices.Values(c.lines), func(x, y *series) int { return strings.Compare(x.name, y.name) })
}

func sign(f float64) float64 {
	switch {
	case f > 0:
		return 1
	case f < 0:
		return -1
	}
	return 0
}

func median(points []point) float64 {
	values := make([]float64, len(points))
	for i, p := range points {
		values[i] = p.value
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// niceness is how far this program's priority is lowered.
func niceness() int {
	const process, middle = 0, 20 // getpriority(2): the kernel returns 20 - nice
	priority, err := syscall.Getpriority(process, 0)
	if err != nil {
		return 0
	}
	return middle - priority
}

// writeBroken lists the promises that were broken, with how often of how many checks.
func (r *record) writeBroken(b *strings.Builder) {
	names := r.broken()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range names {
		fmt.Fprintf(b, "- Broken: %s (%d times, of %d checks).\n", p, r.findings[p].count, r.checked[p])
	}
	if len(names) > 0 {
		b.WriteString("\n")
	}
}

// machineLoad is the load average of 15 minutes, empty if there is none.
func machineLoad() string {
	text, _ := os.ReadFile("/proc/loadavg") // a remark in the page
	if fields := strings.Fields(string(text)); len(fields) > 2 {
		return fields[2]
	}
	return ""
}

// faultSpans are the faults so far, as stretches since a moment.
func (r *record) faultSpans(began time.Time) (spans [][2]time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.runs {
		to := run.to
		if to.IsZero() {
			to = time.Now()
		}
		spans = append(spans, [2]time.Duration{run.from.Sub(began), to.Sub(began)})
	}
	return spans
}

// result is the verdict, for other pages.
func (r *record) result() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verdict()
}

func (r *record) countRuns() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.runs)
}

// requests counts all requests.
func (r *record) requests() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for o := range maps.Values(r.ops) {
		n += o.acknowledged + o.refused + o.unavailable + o.unanswered
	}
	return n
}
