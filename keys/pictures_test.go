package keys_test

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// TestPictures holds the pictures of docs against what the program does: the states and
// moves of [keys.CanMove], a rotation by [keys.Plan], a revocation by
// [moves.TrustedUntil], and the packages that exist. With KEYWARD_DRAW=1 (make pictures)
// it draws them again instead.
func TestPictures(t *testing.T) {
	for name, draw := range map[string]func(*testing.T) []byte{
		"architecture": drawArchitecture, "key-life": drawLife, "rotation-caches": drawCaches, "revocation": drawRevocation,
	} {
		t.Run(name, func(t *testing.T) {
			file, picture := filepath.Join("..", "docs", name+".svg"), draw(t)
			if os.Getenv("KEYWARD_DRAW") != "" {
				if err := os.WriteFile(file, picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if committed, err := os.ReadFile(file); err != nil || !bytes.Equal(committed, picture) {
				t.Errorf("%s does not show what the program does: run make pictures (%v)", file, err)
			}
		})
	}
}

// canvas is a picture that is being drawn. Classes are those of timelineStyle.
type canvas struct{ bytes.Buffer }

func newCanvas(title string, width, height float64) *canvas {
	c := &canvas{}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="12">
<title>%s</title>
%s<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>
<style>.line { stroke: #57606a; fill: none } .tip { fill: #57606a } .frame { fill: none; stroke: #57606a } .small { font-size: 11px }
@media (prefers-color-scheme: dark) { .line, .frame { stroke: #9198a1 } .tip { fill: #9198a1 } }</style>
<rect class="ground" width="100%%" height="100%%"/>
`, width, height, html.EscapeString(title), timelineStyle)
	return c
}

func (c *canvas) text(x, y float64, class, anchor, text string) {
	fmt.Fprintf(c, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, html.EscapeString(text))
}

func (c *canvas) box(class string, x, y, w, h float64) {
	fmt.Fprintf(c, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3"/>`+"\n", class, x, y, w, h)
}

func (c *canvas) arrow(x1, y1, x2, y2 float64) {
	fmt.Fprintf(c, `<line class="line" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" marker-end="url(#tip)"/>`+"\n", x1, y1, x2, y2)
}

func (c *canvas) dashed(x1, y1, x2, y2 float64) {
	fmt.Fprintf(c, `<line class="event" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", x1, y1, x2, y2)
}

func (c *canvas) end() []byte {
	c.WriteString("</svg>\n")
	return c.Bytes()
}

// part is a box of the picture of the architecture. room is the package that does it, if
// Keyward does.
type part struct {
	name       string
	x, y, w    float64
	room, what string
}

// drawArchitecture draws who talks to whom. Its rooms must exist.
func drawArchitecture(t *testing.T) []byte {
	const h = 48
	parts := []part{
		{"relying parties, CDN", 10, 60, 160, "", "verify tokens"},
		{"your services", 10, 150, 160, "", "have tokens signed"},
		{"people, automation", 10, 240, 160, "", "rotate, revoke, audit"},
		{"public paths", 260, 60, 150, "httpapi", "JWKS, discovery"},
		{"admin API, console", 260, 195, 150, "httpapi/console", "roles, approvals"},
		{"cache", 470, 60, 150, "keys/snapshot", "rendered JWK Sets"},
		{"signing", 470, 127, 150, "keys/signing", "keys in memory"},
		{"moves", 470, 195, 150, "keys/moves", "one transaction each"},
		{"worker", 470, 262, 150, "worker", "what keys.Plan says"},
		{"webhooks, copies", 260, 330, 150, "webhook", "events out"},
		{"PostgreSQL", 730, 150, 150, "migrations", "decides what can be"},
		{"master key", 730, 60, 150, "keys/seal", "a file or a KMS"},
		{"standby", 730, 250, 150, "db", "reads of verifiers"},
		{"receivers, SIEM, buckets", 10, 330, 160, "", "hear of changes"},
	}
	at := func(name string) part {
		return parts[slices.IndexFunc(parts, func(p part) bool { return p.name == name })]
	}
	c := newCanvas("Keyward's parts, and who talks to whom", 900, 420)
	c.box("frame", 240, 24, 400, 380)
	c.text(440, 18, "", "middle", "keyward serve, any number of replicas; one leads the worker")
	for _, edge := range [][3]string{
		{"relying parties, CDN", "public paths", "GET"},
		{"your services", "admin API, console", "sign"},
		{"people, automation", "admin API, console", "change"},
		{"public paths", "cache", ""},
		{"admin API, console", "signing", ""},
		{"admin API, console", "moves", ""},
		{"worker", "moves", ""},
		{"cache", "PostgreSQL", "miss"},
		{"signing", "master key", "unwrap"},
		{"moves", "PostgreSQL", "change, NOTIFY"},
		{"webhooks, copies", "receivers, SIEM, buckets", "signed"},
		{"PostgreSQL", "standby", "WAL"},
		{"worker", "webhooks, copies", ""},
	} {
		c.connect(at(edge[0]), at(edge[1]), h, edge[2])
	}
	for _, p := range parts {
		class, text := "standby", "dark"
		if p.room == "" {
			class, text = "gone", "gone-text"
		} else if _, err := os.Stat(filepath.Join("..", p.room)); err != nil {
			t.Errorf("there is no package %s: %v", p.room, err)
		}
		c.box(class, p.x, p.y, p.w, h)
		c.text(p.x+p.w/2, p.y+20, text, "middle", p.name)
		c.text(p.x+p.w/2, p.y+37, text+" small", "middle", p.what)
	}
	return c.end()
}

// connect draws an arrow between two boxes: between their sides, or between top and
// bottom where one is above the other.
func (c *canvas) connect(a, b part, h float64, label string) {
	x1, y1, x2, y2 := a.x+a.w, a.y+h/2, b.x, b.y+h/2
	switch {
	case b.x+b.w <= a.x:
		x1, x2 = a.x, b.x+b.w
	case b.x < a.x+a.w && b.y < a.y:
		x1, y1, x2, y2 = a.x+a.w/2, a.y, b.x+b.w/2, b.y+h
	case b.x < a.x+a.w:
		x1, y1, x2, y2 = a.x+a.w/2, a.y+h, b.x+b.w/2, b.y
	}
	c.arrow(x1, y1, x2, y2)
	c.text(x1+(x2-x1)*0.4+4, y1+(y2-y1)*0.4-5, "small", "middle", label)
}

// lifeMoves says in words what moves a key. Each transition has words, and there are no
// words without one.
var lifeMoves = map[[2]keys.State]string{
	{keys.Born, keys.Standby}:       "created",
	{keys.Born, keys.Active}:        "first or fresh",
	{keys.Born, keys.Deprecated}:    "imported",
	{keys.Standby, keys.Active}:     "rotation",
	{keys.Active, keys.Deprecated}:  "rotation",
	{keys.Deprecated, keys.Expired}: "grace period",
	{keys.Expired, keys.Purged}:     "purge period",
	{keys.Standby, keys.Revoked}:    "revoked",
	{keys.Active, keys.Revoked}:     "revoked",
	{keys.Deprecated, keys.Revoked}: "revoked",
	{keys.Revoked, keys.Purged}:     "purge period",
}

// drawLife draws the states of a key, what each means, and every move between them.
func drawLife(t *testing.T) []byte {
	const w, h = 120, 74
	place := map[keys.State][2]float64{
		keys.Standby: {40, 70}, keys.Active: {230, 70}, keys.Deprecated: {420, 70}, keys.Expired: {610, 70}, keys.Purged: {800, 70}, keys.Revoked: {420, 220},
	}
	c := newCanvas("The life of a key", 940, 310)
	for _, from := range append([]keys.State{keys.Born}, keys.States()...) {
		for _, to := range keys.States() {
			words, has := lifeMoves[[2]keys.State{from, to}]
			if has != keys.CanMove(from, to) {
				t.Errorf("from %q to %q: a move is %t, the picture has it %t", from, to, !has, has)
			}
			if !has {
				continue
			}
			a, b := place[from], place[to]
			switch {
			case from == keys.Born:
				c.arrow(b[0]+w/2, b[1]-34, b[0]+w/2, b[1])
				c.text(b[0]+w/2, b[1]-40, "small", "middle", words)
			case to == keys.Revoked:
				c.arrow(a[0]+w/2, a[1]+h, b[0]+w/2+(a[0]-b[0])/8, b[1])
			case from == keys.Revoked:
				c.arrow(a[0]+w, a[1]+h/2, b[0]+w/2, b[1]+h)
				c.text((a[0]+b[0])/2+w/2+20, (a[1]+b[1]+h)/2+36, "small", "middle", words)
			default:
				c.arrow(a[0]+w, a[1]+h/2, b[0], b[1]+h/2)
				c.text((a[0]+w+b[0])/2, a[1]+h/2-6, "small", "middle", words)
			}
		}
	}
	for state, at := range inOrder(place) {
		class, text := string(state), "dark"
		switch state {
		case keys.Active:
			text = "on"
		case keys.Expired, keys.Revoked, keys.Purged:
			class, text = "gone", "gone-text"
		}
		c.box(class, at[0], at[1], w, h)
		c.text(at[0]+w/2, at[1]+20, text, "middle", string(state))
		for i, line := range stateWords(state) {
			c.text(at[0]+w/2, at[1]+38+14*float64(i), text+" small", "middle", line)
		}
	}
	c.text(420+w/2, 220+h+14, "small", "middle", "by hand, at any time, for good")
	return c.end()
}

// inOrder yields places in the order of a key's life.
func inOrder(place map[keys.State][2]float64) func(yield func(keys.State, [2]float64) bool) {
	return func(yield func(keys.State, [2]float64) bool) {
		for _, s := range keys.States() {
			if !yield(s, place[s]) {
				return
			}
		}
	}
}

func stateWords(s keys.State) (lines []string) {
	published, private := "not in the JWKS", "no private key"
	if s.Published() {
		published = "in the JWKS"
	}
	if s.CanSign() {
		published += ", signs"
	}
	if s.HasPrivate() {
		private = "private key sealed"
	}
	if s == keys.Purged {
		private = "no key at all"
	}
	return []string{published, private}
}

const (
	cachesMinutes = 108
	cachesLeft    = 130.0
	cachesScale   = 7.0 // pixels a minute
)

// drawCaches draws two rotations of a policy with short times, minute by minute, beside two
// caches that honour the headers of the key set, one of which was filled a minute before the
// rotation. It fails if a token cannot be verified with what a cache has.
func drawCaches(t *testing.T) []byte {
	caching := tenant.Caching{MaxAge: 5 * time.Minute, StaleWhileRevalidate: time.Minute, ClockSkew: time.Minute}
	policy := tenant.DefaultPolicy(jose.ES256)
	policy.RotationInterval, policy.PublishLead, policy.GracePeriod = 48*time.Minute, 12*time.Minute, 20*time.Minute
	policy.DefaultTokenTTL, policy.MaxTokenTTL = 10*time.Minute, 10*time.Minute
	if err := policy.Validate(caching); err != nil {
		t.Fatal(err)
	}
	sets, signers, bars := simulateMinutes(keys.Schedule{Policy: policy, ClockSkew: caching.ClockSkew})
	every := int((caching.MaxAge + caching.StaleWhileRevalidate).Minutes())
	x := func(minute int) float64 { return cachesLeft + cachesScale*float64(minute) }
	rows := 0
	for _, b := range bars {
		rows = max(rows, b.row+1)
	}
	bottom := float64(44 + rows*34)
	c := newCanvas("Two rotations beside caches", x(cachesMinutes)+20, bottom+190)
	for minute := 0; minute <= cachesMinutes; minute += 12 {
		c.text(x(minute), bottom+182, "small", "middle", fmt.Sprint(minute))
	}
	c.text(cachesLeft-52, bottom+182, "small", "end", "minute")
	for minute := 1; minute < cachesMinutes; minute++ {
		if signers[minute] != signers[minute-1] {
			c.dashed(x(minute), 30, x(minute), bottom+166)
			c.text(x(minute), 22, "", "middle", fmt.Sprintf("minute %d: key %d signs", minute, signers[minute]))
		}
	}
	for _, b := range bars {
		c.bar(b, x, 44+float64(b.row)*34)
	}
	for i, phase := range []int{2, every - 1} {
		y := bottom + 12 + float64(i)*38
		c.text(10, y+16, "", "start", []string{"a cache", "the latest cache"}[i])
		for from := phase - every; from < cachesMinutes; from += every {
			left, right := max(from, 0), min(from+every, cachesMinutes)
			set := sets[left]
			c.box("standby", x(left)+1, y, cachesScale*float64(right-left)-2, 24)
			if right-left > 3 {
				c.text((x(left)+x(right))/2, y+16, "dark small", "middle", strings.Trim(fmt.Sprint(set), "[]"))
			}
			for minute := left; minute < right; minute++ {
				for signed := max(0, minute-10); signed <= minute; signed++ {
					if !slices.Contains(set, signers[signed]) {
						t.Errorf("minute %d: a cache with %v gets a token of key %d of minute %d", minute, set, signers[signed], signed)
					}
				}
			}
		}
	}
	c.tokens(signers, x, bottom+92)
	c.text(10, bottom+158, "small", "start", fmt.Sprintf("max-age and stale-while-revalidate: %d minutes. Numbers: the keys in the set that a cache holds, and the key of a token.", every))
	return c.end()
}

// tokens draws tokens that live ten minutes, one signed in the last minute of each key.
func (c *canvas) tokens(signers []int, x func(int) float64, y float64) {
	c.text(10, y+16, "", "start", "tokens, 10 minutes")
	for minute := 4; minute+10 <= cachesMinutes; minute++ {
		last := signers[minute+1] != signers[minute]
		if !last && minute%14 != 4 {
			continue
		}
		at := y
		if last {
			at += 26
			c.text(x(minute)-4, at+15, "small", "end", "the last of its key")
		}
		c.box("active", x(minute), at, cachesScale*10, 20)
		c.text(x(minute)+cachesScale*5, at+14, "on small", "middle", fmt.Sprint(signers[minute]))
	}
}

func (c *canvas) bar(b bar, x func(int) float64, y float64) {
	if b.from == 0 || b.state == keys.Standby {
		c.text(10, y+16, "", "start", fmt.Sprintf("key %d", b.row+1))
	}
	class, text := string(b.state), "dark"
	switch b.state {
	case keys.Expired:
		class, text = "gone", "gone-text"
	case keys.Active:
		text = "on"
	}
	c.box(class, x(b.from), y, cachesScale*float64(b.to-b.from), 24)
	c.text(x(b.from)+6, y+16, text, "start", string(b.state))
}

// simulateMinutes follows a policy minute by minute: the key set, who signs, and the bars.
func simulateMinutes(s keys.Schedule) (sets [][]int, signers []int, bars []bar) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	all := []keys.Key{newKey(0, keys.Active, start), newKey(1, keys.Standby, start)}
	for minute := range cachesMinutes {
		now := start.Add(time.Duration(minute) * time.Minute)
		steps, _ := keys.Plan(now, s, all)
		all = followSteps(s, all, steps, now)
		var set []int
		for i, k := range all {
			if k.State.Published() {
				set = append(set, i+1)
			}
		}
		sets, signers, bars = append(sets, set), append(signers, inState(all, keys.Active)+1), extendBars(bars, all, minute)
	}
	return sets, signers, bars
}

// drawRevocation draws how long each class of verifiers may still trust a revoked key, on a
// logarithmic scale.
func drawRevocation(*testing.T) []byte {
	const left, width, row = 420.0, 500.0, 26.0
	day := (24 * time.Hour).Seconds()
	x := func(d time.Duration) float64 { return left + width*math.Log10(max(1, d.Seconds()))/math.Log10(day) }
	revoked := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	trust := moves.TrustedUntil(revoked, tenant.DefaultCaching, moves.FreshTakesOver, true)
	slices.SortStableFunc(trust, func(a, b moves.Trust) int { return cmp.Compare(untilOr(a, revoked), untilOr(b, revoked)) })
	bottom := 44 + row*float64(len(trust)+2)
	c := newCanvas("How long a revoked key may still be trusted", left+width+30, bottom+62)
	for _, tick := range []struct {
		at   time.Duration
		text string
	}{{time.Second, "1 s"}, {keys.FreshFor, "10 s"}, {time.Minute, "1 min"}, {10 * time.Minute, "10 min"}, {time.Hour, "1 h"}, {10 * time.Hour, "10 h"}, {24 * time.Hour, "1 d"}} {
		c.dashed(x(tick.at), 34, x(tick.at), bottom)
		c.text(x(tick.at), 26, "small", "middle", tick.text)
	}
	c.text(10, 26, "", "start", "after a revocation")
	line := func(i int, name, class string, to float64) {
		y := 44 + row*float64(i)
		c.text(10, y+13, "small", "start", name)
		c.box(class, left, y, max(3, to-left), 16)
	}
	line(0, "package jwks, subscribed to events: milliseconds", "active", left)
	line(1, "a replica that hears nothing", "active", x(keys.FreshFor))
	for i, v := range trust {
		name := v.Class + " (" + v.Examples[0] + ")"
		class, to := "deprecated", left+width
		if v.Until != nil {
			to = x(v.Until.Sub(revoked))
		}
		if v.EndsAtFreshToken {
			class = "standby"
		}
		line(i+2, name, class, to)
		if v.Until == nil {
			c.text(left+width-6, 44+row*float64(i+2)+12, "dark small", "end", "without end")
		}
	}
	for i, legend := range []struct{ class, text string }{
		{"active", "Keyward"}, {"deprecated", "until the cache ends"}, {"standby", "the same, or until the first token of the new key (mode fresh)"},
	} {
		at := left - 200 + float64(i)*160
		c.box(legend.class, at, bottom+24, 12, 12)
		c.text(at+18, bottom+35, "small", "start", legend.text)
	}
	return c.end()
}

// untilOr returns the seconds of trust, or more than any for no end.
func untilOr(t moves.Trust, revoked time.Time) float64 {
	if t.Until == nil {
		return math.MaxFloat64
	}
	return t.Until.Sub(revoked).Seconds()
}
