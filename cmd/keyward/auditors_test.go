package main

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Every command of docs/auditors.md prints what the page says, with a credential that
// may only read.
func TestAuditors(t *testing.T) {
	for _, program := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here", program)
		}
	}
	local := deployed(t)
	local["KEYWARD_PUBLIC_URL"] = ""
	auditor := strings.TrimSpace(keyward(t, local, "api-key", "create", "--role=platform_auditor", "--name=auditor").stdout)
	operator := strings.TrimSpace(keyward(t, local, "api-key", "create", "--role=platform_admin", "--name=operator").stdout)
	rec := &recorder{url: launch(t, local, "serve", "--log-format=text").until(t, `msg=serving url=(\S+)`)[1], key: operator}
	remote := environ{"KEYWARD_URL": rec.url, "KEYWARD_API_KEY": operator}
	ok(t, remote, "tenant", "create", "acme")
	_, kid := rec.sign(t)
	dsn := local["KEYWARD_DATABASE_URL"]
	at := queryText(t, dsn, `SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`)
	eventually(t, "the next second", func() bool {
		return queryText(t, dsn, "SELECT (now() >= '"+at+"'::timestamptz + interval '1 s')::text") == "true"
	})
	ok(t, remote, "key", "revoke", "--tenant=acme", "--reason=compromised", "--comment=found in a log", "--yes", "--", kid)
	world := environ{"KEYWARD_URL": rec.url, "KEYWARD_API_KEY": auditor, "KID": kid, "AT": at}
	world["ID"] = queryText(t, dsn, "SELECT id::text FROM api_keys WHERE name = 'operator'")
	if r := keyward(t, world, "tenant", "suspend", "acme"); r.code == exitOK { // and the refusal is an event
		t.Error("an auditor may suspend a tenant")
	}

	page := read(t, "../../docs/auditors.md")
	first, rest, found := strings.Cut(page, "**A period**")
	if !found {
		t.Fatal("the page proves no period")
	}
	run := commandRunner(t, world)
	ran := runDocumentedBy(t, run, first, "audit")
	ok(t, remote, "key", "rotate", "--tenant=acme", "--reason=a drill", "--yes")
	if ran += runDocumentedBy(t, run, rest, "audit"); ran < 20 {
		t.Errorf("only %d commands were found", ran)
	}
	world["KEYWARD_TENANT"] = "acme"
	testForwarder(t, page, world, func() { ok(t, remote, "key", "rotate", "--tenant=acme", "--reason=another", "--yes") })
}

// testForwarder runs the page's forwarder against a receiver that fails at first, kills it,
// and runs it again. The receiver misses no event.
func testForwarder(t *testing.T, page string, world environ, change func()) {
	t.Helper()
	block := regexp.MustCompile("(?s)```sh forwarder\n(.*?)```").FindStringSubmatch(page)
	if block == nil {
		t.Fatal("the page has no forwarder")
	}
	var mu sync.Mutex
	got := map[int64]bool{}
	refused := false
	siem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var event struct{ Seq int64 }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil || event.Seq == 0 {
			t.Errorf("%+v: %v", event, err)
		}
		if !refused {
			refused = true
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got[event.Seq] = true
	}))
	defer siem.Close()
	received := func() int { mu.Lock(); defer mu.Unlock(); return len(got) }
	dir := t.TempDir()
	start := func() (stop func()) {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", block[1])
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(built(t))+string(os.PathListSeparator)+os.Getenv("PATH"), "SIEM="+siem.URL)
		for name, value := range world {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		notes, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, len("Streaming"))
		if _, err := io.ReadFull(notes, said); err != nil || string(said) != "Streaming" {
			t.Errorf("the forwarder says %q: %v", said, err)
		}
		go func() { _, _ = io.Copy(io.Discard, notes) }()
		return func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
	}
	stop := start()
	change()
	eventually(t, "three events in the SIEM", func() bool { return received() == 3 })
	stop()
	change() // while the forwarder is down
	stop = start()
	defer func() { stop() }()
	eventually(t, "the events of the pause in the SIEM", func() bool { return received() == 6 })
	mu.Lock()
	defer mu.Unlock()
	first, last := int64(math.MaxInt64), int64(0)
	for seq := range got {
		first, last = min(first, seq), max(last, seq)
	}
	if last-first != 5 {
		t.Errorf("the SIEM got %v", got)
	}
}
