package main

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// message writes a message of the protocol.
func message(kind byte, body string) []byte {
	m := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(m, body...)
}

func TestCommitsAreRecognised(t *testing.T) {
	stream := slices.Concat(
		message('Q', "select 1\x00"),
		message('Q', "commit\x00"),
		message('P', "s1\x00COMMIT;\x00\x00\x00"),
		message('P', "s2\x00insert into t values ('commit')\x00\x00\x00"),
		message('B', "\x00s2\x00\x00\x00"),
		message('B', "\x00s1\x00\x00\x00"),
	)
	prepared := map[string]bool{}
	var got []bool
	var passed []byte
	err := eachMessage(bytes.NewReader(stream), func(kind byte, message, body []byte) error {
		got = append(got, isCommit(kind, body, prepared))
		passed = append(passed, message...)
		return nil
	})
	if !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
	if want := []bool{false, true, false, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("commits are %v, want %v", got, want)
	}
	if !bytes.Equal(passed, stream) {
		t.Error("the messages are not the stream")
	}
}

func TestLostAnswer(t *testing.T) {
	answers := slices.Concat(message('C', "INSERT 0 1\x00"), message('C', "COMMIT\x00"), message('Z', "I"))
	p := &commitProxy{}
	var all bytes.Buffer
	if err := p.answers(bytes.NewReader(answers), &all); !errors.Is(err, io.EOF) || !bytes.Equal(all.Bytes(), answers) {
		t.Errorf("untold it passes %q on and ends with %v", all.Bytes(), err)
	}
	p.lose.Store(true)
	var some bytes.Buffer
	if err := p.answers(bytes.NewReader(answers), &some); !errors.Is(err, errLost) {
		t.Errorf("it ends with %v", err)
	}
	if want := message('C', "INSERT 0 1\x00"); !bytes.Equal(some.Bytes(), want) {
		t.Errorf("it passes %q on, want %q", some.Bytes(), want)
	}
}

// A COMMIT that is held back goes on when nothing is held back any more, and
// whoever wants to know is told when it begins.
func TestHeldCommit(t *testing.T) {
	p, told := &commitProxy{}, make(chan struct{})
	tell := func() { close(told) }
	p.onHold.Store(&tell)
	p.hold.Store(int64(time.Hour))
	in, startup := &bytes.Buffer{}, []byte{0, 0, 0, 8, 0, 3, 0, 0}
	in.Write(startup)
	in.Write(message('Q', "commit\x00"))
	done := make(chan []byte)
	go func() {
		var out bytes.Buffer
		_ = p.requests(in, &out) // it ends with the stream
		done <- out.Bytes()
	}()
	<-told
	select {
	case <-done:
		t.Fatal("the COMMIT was not held back")
	default:
	}
	p.hold.Store(0)
	if got, want := <-done, append(startup, message('Q', "commit\x00")...); !bytes.Equal(got, want) {
		t.Errorf("it passes %q on, want %q", got, want)
	}
}

// The same seed makes the same campaign, and every fault comes once before any
// comes twice.
func TestScheduleFollowsFromTheSeed(t *testing.T) {
	draw := func(seed uint64) (names []string) {
		s := newSchedule(options{seed: seed}, true, true)
		for range 3 * len(faults) {
			p, ok := s.draw(len(names)%2 == 1)
			if !ok {
				t.Fatal("nothing is left")
			}
			names = append(names, p.name+p.on+p.hold.String())
		}
		return names
	}
	if !slices.Equal(draw(1), draw(1)) {
		t.Error("one seed makes two campaigns")
	}
	if slices.Equal(draw(1), draw(2)) {
		t.Error("two seeds make one campaign")
	}
	s, seen := newSchedule(options{seed: 5}, true, true), map[string]bool{}
	for i := range faults {
		p, _ := s.draw(i >= len(s.round(false)))
		seen[p.name+p.on] = true
		if p.clock != (i >= len(s.round(false))) {
			t.Errorf("fault %d is %s", i, p.name)
		}
	}
	if len(seen) != len(faults) {
		t.Errorf("%d of %d faults in the first round", len(seen), len(faults))
	}
}

func TestOnlySomeFaults(t *testing.T) {
	s := newSchedule(options{seed: 1, only: "frozen, COMMIT"}, true, true)
	for range 20 {
		for _, p := range s.next(true) {
			if !strings.Contains(p.name, "frozen") && !strings.Contains(p.name, "COMMIT") {
				t.Errorf("drew %s", p.name)
			}
		}
	}
	for range 3 * len(faults) {
		if p, _ := newSchedule(options{seed: 1}, false, true).draw(true); p.clock {
			t.Errorf("drew %s, and no clock can be moved", p.name)
		}
	}
	if plan := newSchedule(options{only: "no such fault"}, true, true).next(true); plan != nil {
		t.Errorf("drew %v", plan)
	}
}

func TestDeadlocksAreRead(t *testing.T) {
	dir := t.TempDir()
	p := &postgres{dir: filepath.Join(dir, "postgres")}
	if got := p.deadlocks(); got != nil {
		t.Errorf("without a log there are %q", got)
	}
	const log = `2026-01-02 03:04:05.006 UTC [7] replica-0 ERROR:  deadlock detected
2026-01-02 03:04:05.006 UTC [7] replica-0 DETAIL:  Process 7 waits for ShareLock on transaction 1; blocked by process 8.
	Process 8 waits for ShareLock on transaction 2; blocked by process 7.
	Process 7: -- name: One :exec
	UPDATE keys
	Process 8: UPDATE tenants
2026-01-02 03:04:05.006 UTC [7] replica-0 HINT:  See server log for query details.
2026-01-02 03:04:06.006 UTC [9] torture ERROR:  canceling statement due to lock timeout
2026-01-02 03:04:06.006 UTC [9] worker-1 FATAL:  terminating connection 17 due to administrator command
2026-01-02 03:04:06.006 UTC [9] worker-1 FATAL:  terminating connection 18 due to administrator command
`
	if err := os.WriteFile(p.logFile(), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "2026-01-02 03:04:05.006 UTC [7] replica-0 ERROR:  deadlock detected" +
		" | Process 7 waits for ShareLock on transaction 1; blocked by process 8." +
		" | Process 8 waits for ShareLock on transaction 2; blocked by process 7." +
		" | Process 7: -- name: One :exec | Process 8: UPDATE tenants"
	if got := p.deadlocks(); !slices.Equal(got, []string{want}) {
		t.Errorf("deadlocks are %q, want %q", got, want)
	}
	if got := p.errors(); len(got) != 2 || got["deadlock detected"] != 1 || got["terminating connection … due to administrator command"] != 2 {
		t.Errorf("errors are %v", got)
	}
}

func TestClaims(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   claim
	}{
		{200, `{}`, made},
		{201, `{}`, made},
		{409, `{"code":"conflict"}`, unchanged},
		{503, `{"code":"unavailable","outcome":"unknown","detail":"nothing has changed"}`, unknown},
		{503, `{"code":"unavailable","outcome":"unchanged"}`, unchanged},
		{503, `{"code":"unavailable","detail":"The service cannot answer now and has changed nothing; try again."}`, unchanged},
		{503, `{"code":"unavailable","detail":"The service cannot answer now."}`, unknown},
		{502, `<html>`, unknown},
	} {
		a := answer{status: test.status, body: []byte(test.body), header: http.Header{}}
		if got := a.claimed(); got != test.want {
			t.Errorf("%d %s claims %s, want %s", test.status, test.body, got, test.want)
		}
	}
	if got := (answer{err: io.ErrUnexpectedEOF}).claimed(); got != unknown {
		t.Errorf("no answer claims %s", got)
	}
}

// What is acknowledged and not in the history is lost; what is answered as
// unchanged and is in the history was a lie; what is there twice by one
// Idempotency-Key is reported.
func TestTruth(t *testing.T) {
	began := time.Now()
	try := func(id string, status int, body string) answer {
		return answer{id: id, status: status, body: []byte(body), began: began, ended: began}
	}
	h := &history{read: began.Add(time.Second), keys: map[string]*keyRow{}, byRequest: map[string][]event{
		"r1": {{action: "key.activated", kid: "a"}},
		"r2": {{action: "key.activated", kid: "b"}},
	}}
	for name, test := range map[string]struct {
		tries  []answer
		broken []string
	}{
		"there":           {[]answer{try("r1", 200, `{}`)}, nil},
		"lost":            {[]answer{try("r0", 200, `{}`)}, []string{nothingLost}},
		"unchanged":       {[]answer{try("r0", 503, `{"outcome":"unchanged"}`)}, nil},
		"not unchanged":   {[]answer{try("r1", 503, `{"outcome":"unchanged"}`)}, []string{unchangedIsTrue}},
		"unknown":         {[]answer{try("r1", 503, `{"outcome":"unknown"}`)}, nil},
		"retried":         {[]answer{{id: "r1", err: io.EOF}, try("r0", 200, `{}`)}, nil},
		"retried, doubly": {[]answer{{id: "r1", err: io.EOF}, try("r2", 200, `{}`)}, []string{onceOnly}},
	} {
		truth, r := newTruth(), newRecord()
		truth.settle(change{what: "rotation", action: "key.activated", tries: test.tries}, "", nil)
		truth.confirm(h, r)
		truth.confirm(h, r)
		if got := r.broken(); !slices.Equal(got, test.broken) {
			t.Errorf("%s: broken are %q, want %q", name, got, test.broken)
		}
		for _, f := range r.findings {
			if f.count != 1 {
				t.Errorf("%s: reported %d times", name, f.count)
			}
		}
	}
}

func TestSightings(t *testing.T) {
	gone := time.Now()
	earlier := gone.Add(-time.Minute)
	expires := gone.Add(20 * time.Second)
	key := func() *keyRow {
		return &keyRow{tenant: "t", kid: "k", state: "deprecated", activeFrom: earlier, activeTo: gone, deprecated: &gone, expires: &expires, horizon: &expires}
	}
	signed := func(at, ends time.Time) token {
		return token{tenant: &tenant{slug: "t"}, kid: "k", ends: ends, from: answer{began: at, ended: at}}
	}
	revoked := key()
	revoked.publishedTo, revoked.revoked = gone, &gone
	for name, test := range map[string]struct {
		key    *keyRow
		use    use
		broken []string
	}{
		"in time":         {key(), use{lastSigned: signed(gone, gone), longest: signed(gone, expires)}, nil},
		"deaf":            {key(), use{lastSigned: signed(gone.Add(10*time.Second), gone)}, nil},
		"too late":        {key(), use{lastSigned: signed(gone.Add(12*time.Second), gone)}, []string{noOldSigner}},
		"outlives":        {key(), use{longest: signed(gone, expires.Add(time.Second))}, []string{tokensOutlived}},
		"served":          {revoked, use{lastServed: gone.Add(9 * time.Second)}, nil},
		"served too long": {revoked, use{lastServed: gone.Add(12 * time.Second)}, []string{noOldSets}},
	} {
		s, r := newSightings(), newRecord()
		s.uses["t/k"] = &test.use
		s.confirm(&history{read: gone.Add(time.Hour), keys: map[string]*keyRow{"t/k": test.key}, skews: map[string]time.Duration{}}, r)
		if got := r.broken(); !slices.Equal(got, test.broken) {
			t.Errorf("%s: broken are %q, want %q", name, got, test.broken)
		}
	}
}

func TestKeySetsAreRead(t *testing.T) {
	const good = `{"kty":"OKP","crv":"Ed25519","kid":"a","use":"sig","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	for name, test := range map[string]struct {
		body string
		good bool
	}{
		"good":    {`{"keys":[` + good + `]}`, true},
		"empty":   {`{"keys":[]}`, false},
		"private": {`{"keys":[` + strings.Replace(good, `"x"`, `"d":"c2VjcmV0","x"`, 1) + `]}`, false},
		"twice":   {`{"keys":[` + good + `,` + good + `]}`, false},
		"no kid":  {`{"keys":[` + strings.Replace(good, `"kid":"a",`, ``, 1) + `]}`, false},
		"no JSON": {`{`, false},
	} {
		if _, fault := readKeySet(&tenant{}, answer{body: []byte(test.body)}); (fault == "") != test.good {
			t.Errorf("%s: the fault is %q", name, fault)
		}
	}
}

func TestRegisterIsLinearizable(t *testing.T) {
	began := time.Now()
	at := func(from, to int) answer {
		return answer{status: 200, began: began.Add(time.Duration(from) * time.Millisecond), ended: began.Add(time.Duration(to) * time.Millisecond)}
	}
	lost := at(1, 2)
	lost.err = io.EOF
	for name, test := range map[string]struct {
		steps []step
		want  bool
	}{
		"in order":                {[]step{{kid: "a", from: at(0, 1)}, {rotation: true, before: "a", kid: "b", from: at(2, 3)}, {client: 1, kid: "b", from: at(4, 5)}}, true},
		"old after the answer":    {[]step{{rotation: true, before: "a", kid: "b", from: at(2, 3)}, {client: 1, kid: "a", from: at(4, 5)}}, false},
		"old while it goes on":    {[]step{{rotation: true, before: "a", kid: "b", from: at(2, 5)}, {client: 1, kid: "a", from: at(3, 4)}}, true},
		"back and forth":          {[]step{{rotation: true, before: "a", kid: "b", from: at(2, 9)}, {client: 1, kid: "b", from: at(3, 4)}, {client: 1, kid: "a", from: at(5, 6)}}, false},
		"two from the same key":   {[]step{{rotation: true, before: "a", kid: "b", from: at(0, 9)}, {client: 1, rotation: true, before: "a", kid: "c", from: at(0, 9)}}, false},
		"an answer that got lost": {[]step{{rotation: true, before: "a", kid: "b", from: lost}, {client: 1, kid: "a", from: at(7, 8)}, {client: 1, kid: "b", from: at(9, 10)}}, true},
	} {
		if got := porcupine.CheckOperations(register("a"), toOperations(test.steps, began)); got != test.want {
			t.Errorf("%s: linearizable is %v", name, got)
		}
	}
}

func TestExcusedSignatures(t *testing.T) {
	began := time.Now()
	a := answer{status: 200, began: began, ended: began.Add(time.Second)}
	sign := func(after time.Duration) step {
		return step{kid: "a", from: answer{began: began.Add(after), ended: began.Add(after)}}
	}
	l := &linear{ops: []step{{rotation: true, kid: "b", before: "a", from: a, unconfirmed: true}, sign(5 * time.Second), sign(time.Minute)}}
	if got := l.complete(&history{}); len(got) != 2 || !got[1].from.began.Equal(began.Add(time.Minute)) {
		t.Errorf("kept are %+v", got)
	}
}

// A program built with the overlay has a wall clock that can be moved while it
// runs, and durations that cannot.
func TestMovedClock(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	for name, text := range map[string]string{
		"go.mod": "module moved\n\ngo 1.27.0\n",
		"cmd/keyward/main.go": `package main

import (
	"fmt"
	"time"
)

func main() {
	begun := time.Now()
	fmt.Println(begun.Unix())
	fmt.Scanln()
	now := time.Now()
	fmt.Println(now.Unix(), now.Sub(begun) < 30*time.Minute, time.Since(begun) < 30*time.Minute)
}
`,
	} {
		at := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, err := build(t.Context(), source, dir)
	if err != nil {
		t.Fatal(err)
	}
	if moves, err := clockMoves(program); err != nil || !moves {
		t.Errorf("clockMoves is %v, %v", moves, err)
	}
	clock, err := newClock(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = []string{clockVariable + "=" + clock.file}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	var before, after int64
	var sub, since bool
	scan := func(into ...any) {
		t.Helper()
		if _, err := fmt.Fscanln(out, into...); err != nil {
			t.Fatal(err)
		}
	}
	scan(&before)
	if off := time.Since(time.Unix(before, 0)).Abs(); off > 20*time.Minute {
		t.Errorf("unmoved it is off by %v", off)
	}
	if err := clock.set(-time.Hour - 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	scan(&after, &sub, &since)
	if off := time.Since(time.Unix(after, 0)); off < 40*time.Minute || off > 80*time.Minute {
		t.Errorf("moved back by an hour it is off by %v", off)
	}
	if !sub || !since {
		t.Error("the monotonic clock was moved too")
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A chart contains every line, keeps all points inside the picture, and tells what grows by
// the medians of its first and last quarter.
func TestCharts(t *testing.T) {
	c := chart{title: "Things", unit: "MB"}
	for i := range 100 {
		c.add("grows", time.Duration(i)*time.Minute, float64(i))
		c.add("stays", time.Duration(i)*time.Minute, 5)
	}
	svg := c.svg([][2]time.Duration{{-time.Second, time.Minute}, {98 * time.Minute, 200 * time.Minute}})
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Errorf("no XML: %v", err)
	}
	if n := strings.Count(svg, "<polyline"); n != 2 {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(svg, `class="fault"`); n != 2 {
		t.Errorf("%d faults", n)
	}
	for _, numbers := range regexp.MustCompile(`points="([^"]*)"`).FindAllStringSubmatch(svg, -1) {
		for _, pair := range strings.Fields(numbers[1]) {
			var x, y float64
			if _, err := fmt.Sscanf(pair, "%f,%f", &x, &y); err != nil || x < chartLeft || x > chartWidth-chartRight+0.1 || y < chartTop-0.1 || y > chartHeight-chartBottom+0.1 {
				t.Errorf("a point at %s (%v)", pair, err)
			}
		}
	}
	var table strings.Builder
	c.writeQuarters(&table)
	for _, row := range []string{"| grows | 12 | 87 | 99 |", "| stays | 5 | 5 | 5 |"} {
		if !strings.Contains(table.String(), row) {
			t.Errorf("no %q in\n%s", row, table.String())
		}
	}
}

func TestNiceSteps(t *testing.T) {
	for least, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 1.1: 2, 2.5: 5, 7: 10, 30: 50} {
		if got := niceStep(least); math.Abs(got-want) > 1e-9 {
			t.Errorf("niceStep(%v) is %v, want %v", least, got, want)
		}
	}
}

// The page of a soak names what was broken, how often, of how many checks.
func TestSoakNamesBrokenPromises(t *testing.T) {
	r := newRecord()
	r.check(boundedSet, 7)
	r.broke(boundedSet, "late")
	r.broke(boundedSet, "late again")
	var b strings.Builder
	r.writeBroken(&b)
	if want := "- Broken: " + boundedSet + " (2 times, of 7 checks).\n\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// The process table of this process can be read.
func TestResidentPages(t *testing.T) {
	if pages, err := residentPages(os.Getpid()); err != nil || pages <= 0 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

// What a machine lacks is left out, and the upgrade comes before everything else.
func TestScheduleLeavesOut(t *testing.T) {
	s := newSchedule(options{seed: 3}, false, false, "pooler", "standby")
	for i := range 2 * len(faults) {
		p, ok := s.draw(false)
		if !ok || p.needs == "pooler" || p.needs == "standby" {
			t.Fatalf("drew %q (%v)", p.name, ok)
		}
		if i == 0 && p.name != upgradeName {
			t.Errorf("the first is %q", p.name)
		}
	}
	for i := range faults {
		if p, _ := newSchedule(options{seed: uint64(i)}, true, true, "previous").draw(false); p.name == upgradeName {
			t.Errorf("drew %q without an earlier program", p.name)
		}
	}
}

// What happens to a way happens to the one past the pooler as well.
func TestWayPastAPooler(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	main, err1 := newWay("main", server.Addr().String())
	also, err2 := newWay("also", server.Addr().String())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	main.also = also
	defer main.close()
	open := func() (n int) {
		for _, w := range []*way{main, also} {
			if conn, err := net.Dial("tcp", w.addr()); err == nil {
				n++
				_ = conn.Close()
			}
		}
		return n
	}
	if n := open(); n != 2 {
		t.Errorf("%d ways are open", n)
	}
	join := main.cut()
	if n := open(); n != 0 {
		t.Errorf("cut off, %d ways are open", n)
	}
	join()
	if n := open(); n != 2 {
		t.Errorf("joined again, %d ways are open", n)
	}
	cure, err := main.poison("latency", map[string]any{"latency": 1})
	if err != nil || len(main.toxic.Toxics.GetToxicArray()) != 2 || len(also.toxic.Toxics.GetToxicArray()) != 2 {
		t.Errorf("poisoned: %v", err)
	}
	if err := cure(); err != nil || len(also.toxic.Toxics.GetToxicArray()) != 0 {
		t.Errorf("cured: %v", err)
	}
}

// The program before is that of the last commit whose migrations are the first of these.
func TestPreviousCommit(t *testing.T) {
	source := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := git(t.Context(), source, append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com"}, args...)...)
		if err != nil {
			t.Fatalf("git %q: %v", args, err)
		}
		return out
	}
	commit := func(name, text string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(source, "migrations"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run("add", "-A")
		run("commit", "-q", "-m", name)
		return run("rev-parse", "HEAD")
	}
	expect := func(when, want string) {
		t.Helper()
		got, err := previousCommit(t.Context(), source)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v; want %q", when, got, err, want)
		}
	}
	run("init", "-q")
	commit("migrations/1.sql", "one")
	expect("the first commit", "")
	before := commit("main.go", "a")
	commit("migrations/2.sql", "two")
	expect("a migration was added", before)
	commit("main.go", "b")
	expect("then the program changed", before)
	commit("migrations/1.sql", "another")
	last := run("rev-parse", "HEAD")
	expect("a migration was edited", "")
	commit("main.go", "c")
	expect("then the program changed again", last)
}

// A commit that a frozen PostgreSQL was about to make is told from one whose time was not
// checked.
func TestStoppedInCommit(t *testing.T) {
	from := time.Now()
	c := &campaign{frozen: []span{{from, from.Add(15 * time.Second)}}}
	for name, test := range map[string]struct {
		at, committed time.Duration
		want          bool
	}{
		"in its commit":          {-100 * time.Millisecond, 15*time.Second + 20*time.Millisecond, true},
		"long before":            {-6 * time.Second, 15 * time.Second, false},
		"long after":             {-100 * time.Millisecond, 17 * time.Second, false},
		"begun while it was":     {time.Second, 15 * time.Second, false},
		"committed while it was": {-100 * time.Millisecond, 8 * time.Second, false},
	} {
		if got := c.stoppedInCommit(event{at: from.Add(test.at), committed: from.Add(test.committed)}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
