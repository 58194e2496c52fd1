package keys_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

const (
	timelineFile   = "../docs/timeline.svg"
	timelineDays   = 100
	timelineRevoke = 80 // the day on which the active key is revoked by hand
)

// TestTimelinePicture holds the picture of the README against [keys.Plan]. With
// KEYWARD_DRAW=1 (make pictures) it draws the picture again instead.
func TestTimelinePicture(t *testing.T) {
	picture := drawTimeline(simulateTimeline(t))
	if os.Getenv("KEYWARD_DRAW") != "" {
		if err := os.WriteFile(timelineFile, picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(timelineFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, picture) {
		t.Errorf("%s does not show what keys.Plan does: run make pictures", timelineFile)
	}
}

// bar is the time that one key spends in one state, in days.
type bar struct {
	row      int
	state    keys.State
	from, to int
}

// simulateTimeline follows one tenant's default policy day by day, takes the
// steps of keys.Plan, and revokes the active key once.
func simulateTimeline(t *testing.T) []bar {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	schedule := keys.Schedule{Policy: tenant.DefaultPolicy(jose.ES256), ClockSkew: time.Minute}
	all := []keys.Key{newKey(0, keys.Active, start), newKey(1, keys.Standby, start)}
	var bars []bar
	for day := range timelineDays {
		now := start.AddDate(0, 0, day)
		if day == timelineRevoke {
			i := inState(all, keys.Active)
			all[i].State, all[i].RevokedAt = keys.Revoked, &now
			promoteStandby(schedule, all, now)
		}
		steps, _ := keys.Plan(now, schedule, all)
		if slices.ContainsFunc(steps, func(step keys.Step) bool { return step.Kind == keys.Purge }) {
			t.Errorf("day %d: nothing is purged within the purge period", day)
		}
		all = followSteps(schedule, all, steps, now)
		bars = extendBars(bars, all, day)
	}
	return bars
}

// followSteps carries out what keys.Plan says, except that it purges nothing.
func followSteps(s keys.Schedule, all []keys.Key, steps []keys.Step, now time.Time) []keys.Key {
	for _, step := range steps {
		switch step.Kind {
		case keys.Promote:
			promoteStandby(s, all, now)
		case keys.CreateStandby:
			all = append(all, newKey(len(all), keys.Standby, now))
		case keys.Expire:
			i := slices.IndexFunc(all, func(k keys.Key) bool { return k.KID == step.KID })
			all[i].State, all[i].ExpiredAt = keys.Expired, &now
		}
	}
	return all
}

func newKey(n int, state keys.State, at time.Time) keys.Key {
	k := keys.Key{KID: fmt.Sprint(n + 1), Alg: jose.ES256, State: state, Origin: keys.Generated, CreatedAt: at, PublishedAt: at}
	if state == keys.Active {
		k.ActivatedAt = &at
	}
	return k
}

func inState(all []keys.Key, state keys.State) int {
	return slices.IndexFunc(all, func(k keys.Key) bool { return k.State == state })
}

// promoteStandby deprecates the active key, if there is one, and activates the
// standby key.
func promoteStandby(s keys.Schedule, all []keys.Key, now time.Time) {
	if i := inState(all, keys.Active); i >= 0 {
		expires := s.ExpiresAt(now, all[i])
		all[i].State, all[i].DeprecatedAt, all[i].ExpiresAt = keys.Deprecated, &now, &expires
	}
	i := inState(all, keys.Standby)
	all[i].State, all[i].ActivatedAt = keys.Active, &now
}

// extendBars adds one day to the bar of every key, or begins a new bar.
func extendBars(bars []bar, all []keys.Key, day int) []bar {
	for row, k := range all {
		i := slices.IndexFunc(bars, func(b bar) bool { return b.row == row && b.state == k.State && b.to == day })
		if i < 0 {
			bars = append(bars, bar{row, k.State, day, day + 1})
		} else {
			bars[i].to++
		}
	}
	return bars
}

const timelineStyle = `<style>
text { fill: #1f2328 } .grid { stroke: #d0d7de } .ground { fill: #ffffff } .event { stroke: #57606a; stroke-dasharray: 3 3 }
.standby { fill: #b6d7f2 } .active { fill: #0969da } .deprecated { fill: #c9a227 } .gone { fill: #d0d7de }
.on { fill: #ffffff } .dark { fill: #1f2328 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #3d444d } .ground { fill: #0d1117 } .event { stroke: #9198a1 } .gone { fill: #3d444d }
.on { fill: #ffffff } .dark { fill: #1f2328 } .gone-text { fill: #e6edf3 }
}
</style>
`

const (
	timelineLeft  = 60
	timelineTop   = 58
	timelineRow   = 34
	timelineScale = 6.6 // pixels a day
)

// drawTimeline is the picture, an SVG for light and dark backgrounds.
func drawTimeline(bars []bar) []byte {
	rows := 0
	for _, b := range bars {
		rows = max(rows, b.row+1)
	}
	x := func(day int) float64 { return timelineLeft + timelineScale*float64(day) }
	bottom := timelineTop + rows*timelineRow
	var s bytes.Buffer
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" font-family="system-ui, sans-serif" font-size="12">
<title>The keys of one tenant over %d days</title>
%s<rect class="ground" width="100%%" height="100%%"/>
`, x(timelineDays)+20, bottom+64, timelineDays, timelineStyle)
	for day := 0; day <= timelineDays; day += 10 {
		fmt.Fprintf(&s, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n",
			x(day), timelineTop-6, x(day), bottom, x(day), bottom+16, day)
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d">day</text>`+"\n", timelineLeft-36, bottom+16)
	for row := range rows {
		fmt.Fprintf(&s, `<text x="%d" y="%d">key %d</text>`+"\n", timelineLeft-46, timelineTop+row*timelineRow+18, row+1)
	}
	drawEvents(&s, bars, x, bottom)
	for _, b := range bars {
		drawBar(&s, b, x)
	}
	drawLegend(&s, bottom+40)
	s.WriteString("</svg>\n")
	return s.Bytes()
}

// drawEvents marks the days on which another key begins to sign.
func drawEvents(s *bytes.Buffer, bars []bar, x func(int) float64, bottom int) {
	for _, b := range bars {
		if b.state != keys.Active || b.from == 0 {
			continue
		}
		what := "rotation"
		if b.from == timelineRevoke {
			what = "revocation"
		}
		fmt.Fprintf(s, `<line class="event" x1="%.1f" y1="34" x2="%.1f" y2="%d"/><text x="%.1f" y="26" text-anchor="middle">day %d: %s</text>`+"\n",
			x(b.from), x(b.from), bottom, x(b.from), b.from, what)
	}
}

func drawBar(s *bytes.Buffer, b bar, x func(int) float64) {
	class, text, height := string(b.state), "dark", timelineRow-10
	if b.state == keys.Expired || b.state == keys.Revoked {
		class, text = "gone", "gone-text"
	}
	if b.state == keys.Active {
		text = "on"
	}
	y := timelineTop + b.row*timelineRow
	fmt.Fprintf(s, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"><title>key %d is %s from day %d</title></rect>`+"\n",
		class, x(b.from), y, timelineScale*float64(b.to-b.from), height, b.row+1, b.state, b.from)
	if b.to-b.from >= 10 {
		fmt.Fprintf(s, `<text class="%s" x="%.1f" y="%d">%s</text>`+"\n", text, x(b.from)+6, y+16, b.state)
	}
}

func drawLegend(s *bytes.Buffer, y int) {
	at := timelineLeft
	for _, entry := range []struct{ class, text string }{
		{"standby", "standby: published"},
		{"active", "active: published, signs"},
		{"deprecated", "deprecated: published"},
		{"gone", "expired, revoked: removed"},
	} {
		fmt.Fprintf(s, `<rect class="%s" x="%d" y="%d" width="12" height="12"/><text x="%d" y="%d">%s</text>`+"\n",
			entry.class, at, y, at+18, y+11, entry.text)
		at += 34 + 6*len(entry.text)
	}
}
