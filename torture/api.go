package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// Bounds that the promises state, and what is granted beyond them because this
// machine is shared with all processes of the campaign.
const (
	changeBound = 15 * time.Second
	signBound   = 2 * time.Second
	setBound    = 50 * time.Millisecond
	granted     = 500 * time.Millisecond
	giveUp      = 40 * time.Second // for an answer that does not come
)

// looksSecret finds API keys and private keys.
var looksSecret = regexp.MustCompile(`kw_[A-Za-z0-9]{6,}_[A-Za-z0-9_-]{16,}|BEGIN [A-Z ]*PRIVATE KEY`)

// answer is what came of a request.
type answer struct {
	status       int
	header       http.Header
	body         []byte
	err          error // no answer, or none that is whole
	began, ended time.Time
	replica      int
	id           string // X-Request-Id, which the audit events name
}

func (a answer) took() time.Duration { return a.ended.Sub(a.began) }
func (a answer) ok() bool            { return a.err == nil && a.status < 300 }

// decode reads the body. A 2xx that is no JSON is reported by the caller.
func (a answer) decode(into any) error { return json.Unmarshal(a.body, into) }

// stale reports whether the answer says of itself that it may be outdated.
func (a answer) stale() bool { return a.err == nil && a.header.Get("Keyward-Stale") != "" }

// said is the answer in a line of evidence.
func (a answer) said() string {
	if a.err != nil {
		return fmt.Sprintf("no answer after %.2f s (%v), request %s to replica-%d", a.took().Seconds(), a.err, a.id, a.replica)
	}
	return fmt.Sprintf("%d after %.2f s, request %s to replica-%d: %s", a.status, a.took().Seconds(), a.id, a.replica, shorten(strings.TrimSpace(string(a.body)), 200))
}

// claims is what the answer to a change says about what has happened.
type claim string

const (
	made      claim = "made"
	unchanged claim = "unchanged"
	unknown   claim = "unknown"
)

var nothingChanged = regexp.MustCompile(`(?i)(nothing (has|was) (been )?changed|has changed nothing|changed nothing|no change was made)`)

// claimed reads the answer to a change. A refusal (4xx) has changed nothing; a
// 503 says itself, in outcome or in words, and otherwise leaves it open.
func (a answer) claimed() claim {
	switch {
	case a.err != nil:
		return unknown
	case a.status < 300:
		return made
	case a.status < 500:
		return unchanged
	}
	var problem struct{ Outcome, Detail, Title string }
	_ = a.decode(&problem) // what cannot be read claims nothing
	switch {
	case problem.Outcome == string(unknown):
		return unknown
	case problem.Outcome == string(unchanged), problem.Outcome == "" && nothingChanged.MatchString(problem.Title+" "+problem.Detail):
		return unchanged
	}
	return unknown
}

// request is what is asked of a replica.
type request struct {
	kind         string // the name in the report
	method, path string
	body         any
	headers      []string      // name, value, …
	anonymous    bool          // without the credential
	bound        time.Duration // 0: changeBound
	promise      string        // that bound belongs to
	ifFailed     bool          // bound is for a refusal alone
}

var lastRequest atomic.Int64

// ask sends a request to one replica and judges what holds for every answer:
// no 500, and not later than promised.
func (c *campaign) ask(ctx context.Context, replica int, r request) answer {
	p := c.replicas[replica]
	a := answer{replica: replica, id: fmt.Sprintf("torture-%d", lastRequest.Add(1)), began: time.Now()}
	a.send(ctx, c, p, r)
	a.ended = time.Now()
	if ctx.Err() != nil {
		return a // the end of the campaign cut it off
	}
	away := p.wasAway(a.began, a.ended)
	c.record.operation(r.kind, a, away)
	c.judge(p, r, a, away)
	return a
}

func (a *answer) send(ctx context.Context, c *campaign, p *process, r request) {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if a.err = err; err != nil {
			return
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, p.url+r.path, body)
	if a.err = err; err != nil {
		return
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !r.anonymous {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	req.Header.Set("X-Request-Id", a.id)
	for i := 0; i+1 < len(r.headers); i += 2 {
		req.Header.Set(r.headers[i], r.headers[i+1])
	}
	res, err := c.http.Do(req)
	if a.err = err; err != nil {
		return
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	a.body, a.err = io.ReadAll(io.LimitReader(res.Body, 16<<20))
}

// judge holds an answer against the promises that concern every request.
func (c *campaign) judge(p *process, r request, a answer, away bool) {
	c.record.check(no500, 1)
	if a.err == nil && a.status >= 500 && a.status != http.StatusServiceUnavailable {
		c.record.brokeDuring(no500, a.began, a.ended, "%s %s: %s; log: %s", r.method, r.path, a.said(), strings.Join(p.logLines(a.id, 2), " | "))
	}
	if away {
		return
	}
	bound, promise := changeBound, boundedChange
	if r.bound > 0 && (!r.ifFailed || !a.ok()) {
		bound, promise = r.bound, r.promise
	}
	c.record.check(promise, 1)
	if late := a.took() - bound - granted - c.record.machineDelay(a.began, a.ended); late > 0 {
		c.record.brokeDuring(promise, a.began, a.ended, "%s %s, begun at %s: %s", r.method, r.path, c.record.at(a.began), a.said())
	}
}
