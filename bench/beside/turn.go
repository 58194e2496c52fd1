package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// request is one kind of request, for both servers.
type request struct {
	name    string
	keyward *server
	method  string
	headers map[string]string
	body    string
	paths   map[string]string // by the server's name; %s is a slug
	slugs   string            // file with the slugs to ask for, one in a line
	conns   int               // connections of wrk; 0: those of the options
}

func (s *servers) requests() []request {
	set := map[string]string{"bare": "/jwks", "Keyward": "/t/demo/.well-known/jwks.json"}
	sets := map[string]string{"bare": "/t/%s/jwks", "Keyward": "/t/%s/.well-known/jwks.json", "Keyward, 16 MB": "/t/%s/.well-known/jwks.json"}
	selects := maps.Clone(sets)
	selects["bare"] = "/select/%s"
	all := []request{
		{name: "JWKS", paths: set},
		{name: "JWKS, 304", paths: set, headers: map[string]string{"If-None-Match": s.etag}},
		{name: "JWKS of many, Zipf", paths: sets, slugs: s.zipf},
		{name: "JWKS of many, uniform", paths: sets, slugs: s.uniform},
		{name: "JWKS of many, not in memory", paths: selects, slugs: s.uniform, keyward: s.small},
	}
	headers := map[string]string{"Authorization": "Bearer " + s.key, "Content-Type": "application/json"}
	post := func(name, body, bare, keyward string) request {
		return request{name: name, method: "POST", body: body, headers: headers, paths: map[string]string{"bare": bare, "Keyward": "/v1/tenants/demo/" + keyward}}
	}
	for _, alg := range []string{"ES256", "EdDSA"} {
		all = append(all, post("token "+alg, tokenOrder(alg), "/tokens/"+alg, "tokens"))
	}
	// A batch takes both servers 50 ms: of many at once Keyward refuses those that would wait.
	batch := post("batch of 1,000", `{"tokens":[`+strings.Repeat(tokenOrder("ES256")+",", 999)+tokenOrder("ES256")+`]}`, "/batch", "tokens/batch")
	batch.conns = 2
	all = append(all, batch)
	for _, alg := range []string{"ES256", "EdDSA"} {
		all = append(all, post("verification "+alg, `{"token":"`+s.tokens[alg]+`"}`, "/verify", "tokens/verify"))
	}
	for i := range all {
		all[i].method = cmp.Or(all[i].method, "GET")
		all[i].keyward = cmp.Or(all[i].keyward, s.keyward)
	}
	return all
}

func tokenOrder(alg string) string {
	return `{"claims":{"sub":"user-1","aud":"api","scope":"read write"},"alg":"` + alg + `"}`
}

// Samples of the runtime's figures.
const (
	allocatedSample  = "go_memstats_alloc_bytes_total"
	collectionSample = "go_gc_duration_seconds_count"
)

// turn is what one server did in one turn. Latencies are in ms; add keeps the means.
type turn struct {
	turns          float64
	requests       float64
	seconds        float64
	cpu            float64 // seconds
	bytes          float64
	collections    float64
	resident       float64 // MB
	p50, p99, p999 float64
}

func (t turn) perSecond() float64      { return t.requests / t.seconds }
func (t turn) cpuMicros() float64      { return t.cpu / t.requests * 1e6 }
func (t turn) allocated() float64      { return t.bytes / t.requests }
func (t turn) collectionRate() float64 { return t.collections / t.seconds }

func (t *turn) add(o turn) {
	mean := func(have *float64, v float64) { *have = (*have*t.turns + v) / (t.turns + 1) }
	mean(&t.p50, o.p50)
	mean(&t.p99, o.p99)
	mean(&t.p999, o.p999)
	t.turns++
	t.requests += o.requests
	t.seconds += o.seconds
	t.cpu += o.cpu
	t.bytes += o.bytes
	t.collections += o.collections
}

// report makes wrk print its figures in one line.
const report = `
done = function(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("figures %d %d %d %d %d %d\n", summary.requests, summary.duration, errors, latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
`

// manyPaths makes wrk ask for one path after the other.
const manyPaths = `
local requests, last = {}, 0
init = function()
  for slug in io.lines(%q) do requests[#requests + 1] = wrk.format(nil, string.format(%q, slug)) end
end
request = function()
  last = last %% #requests + 1
  return requests[last]
end
`

// takeTurn lets wrk ask one server.
func (s *servers) takeTurn(ctx context.Context, o options, server *server, r request) (t turn, err error) {
	script := fmt.Sprintf("wrk.method = %q\n", r.method)
	if r.body != "" {
		script += fmt.Sprintf("wrk.body = %q\n", r.body)
	}
	for name, value := range r.headers {
		script += fmt.Sprintf("wrk.headers[%q] = %q\n", name, value)
	}
	path := r.paths[server.name]
	if r.slugs != "" {
		script += fmt.Sprintf(manyPaths, r.slugs, path)
		path = ""
	}
	file := filepath.Join(s.dir, "wrk.lua")
	if err := os.WriteFile(file, []byte(script+report), 0o600); err != nil {
		return t, err
	}
	before, err := s.figures(ctx, server)
	if err != nil {
		return t, err
	}
	out, err := exec.CommandContext(ctx, "taskset", "-c", "1", "wrk", "-t1", "-c"+strconv.Itoa(cmp.Or(r.conns, o.conns)),
		fmt.Sprintf("-d%ds", int(o.duration/time.Second)), "-s", file, server.url+path).CombinedOutput()
	if err != nil {
		return t, fmt.Errorf("wrk: %w: %s", err, out)
	}
	after, err := s.figures(ctx, server)
	if err != nil {
		return t, err
	}
	var micros, failed, p50, p99, p999 float64
	_, line, _ := strings.Cut(string(out), "figures ")
	if _, err := fmt.Sscan(line, &t.requests, &micros, &failed, &p50, &p99, &p999); err != nil || failed > 0 {
		return t, fmt.Errorf("%s of %s: %s", r.name, server.name, out)
	}
	t.seconds, t.p50, t.p99, t.p999 = micros/1e6, p50/1e3, p99/1e3, p999/1e3
	t.cpu, t.bytes, t.collections, t.resident = after[0]-before[0], after[1]-before[1], after[2]-before[2], after[3]
	return t, nil
}

// figures returns a server's processor time in seconds, allocated bytes and collections so
// far, and its resident memory in MB.
func (s *servers) figures(ctx context.Context, server *server) (f [4]float64, err error) {
	_, text, err := s.ask(ctx, "GET", server.url+server.stats, "")
	if err != nil {
		return f, err
	}
	for i, name := range []string{allocatedSample, collectionSample} {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
		if m == nil {
			return f, fmt.Errorf("%s has no %s", server.name, name)
		}
		if f[i+1], err = strconv.ParseFloat(string(m[1]), 64); err != nil {
			return f, err
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", server.pid))
	if err != nil {
		return f, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	for _, i := range []int{11, 12} { // utime, stime
		ticks, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return f, err
		}
		f[0] += ticks / 100
	}
	pages, err := strconv.ParseFloat(fields[21], 64)
	f[3] = pages * float64(os.Getpagesize()) / 1e6
	return f, err
}
