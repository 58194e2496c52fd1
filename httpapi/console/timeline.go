package console

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/keyward/keyward/client"
)

// The drawing, in its own units.
const (
	tlLeft   = 150.0 // names of keys
	tlWidth  = 1000.0
	tlTop    = 40.0
	tlLane   = 40.0
	tlBand   = 22.0
	tlBottom = 6.0
	maxLanes = 14
)

// timeline is a tenant's keys over time, ready to be drawn and to be read as a
// table.
type timeline struct {
	Lanes  []lane
	Ticks  []tick
	Height float64
	Plot   float64 // the lower edge of the lanes
	NowX   float64
	From   time.Time
	Until  time.Time
	Hidden int // keys that are not drawn

	now time.Time
}

// lane is one key.
type lane struct {
	Key   client.Key
	Name  string
	Alg   string
	State string
	Y     float64
	BandY float64
	Bands []band
	Alive *band   // tokens that may still live
	Marks []mark  // the end of the lead, the revocation
	Rows  []tlRow // the same in words
	KID   string  // "" for a key that does not exist yet
}

// band is a stretch of time in one state. Kind says how it looks: standby, active,
// deprecated or gone; a planned one is dashed.
type band struct {
	Kind     string
	Planned  bool
	X, Width float64
	Label    string
	LabelX   float64
	Text     string // the whole of it in words
	From     time.Time
	Until    time.Time
}

type mark struct {
	Kind string
	X    float64
	Text string
}

// tlRow is a row of the table.
type tlRow struct {
	What    string
	From    time.Time
	Until   *time.Time
	Planned bool
}

type tick struct {
	X    float64
	Text string
}

// newTimeline draws the lanes of published keys and of keys that left lately,
// and of the standby that each planned rotation will create. What lies in the
// future follows from the next transition of each key in the API's answers, and from
// the policy.
func newTimeline(now time.Time, policies []client.Policy, all []client.Key) timeline {
	tl := timeline{now: now}
	byAlg := map[client.Alg]client.Policy{}
	for _, p := range policies {
		byAlg[p.Alg] = p
	}
	shown := slices.DeleteFunc(slices.Clone(all), func(k client.Key) bool { return k.PurgedAt != nil })
	if len(shown) > maxLanes {
		tl.Hidden = len(shown) - maxLanes
		shown = shown[:maxLanes]
	}
	tl.span(byAlg, shown)
	for _, k := range shown {
		tl.add(tl.laneOf(byAlg[k.Alg], k))
	}
	for _, p := range policies {
		if l, planned := tl.plannedLane(p, shown); planned && len(tl.Lanes) < maxLanes+2 {
			tl.add(l)
		}
	}
	tl.Plot = tlTop + float64(len(tl.Lanes))*tlLane
	tl.Height = tl.Plot + tlBottom
	tl.NowX = tl.x(now)
	tl.ticks()
	return tl
}

func (tl *timeline) add(l lane) {
	for _, m := range l.Marks {
		for i := range l.Bands { // a label begins behind a mark
			if b := &l.Bands[i]; m.Kind == "lead" && b.Label != "" && m.X > b.X-8 && m.X < b.LabelX+7.5*float64(len(b.Label)) {
				b.LabelX = m.X + 10
				if b.LabelX+7.5*float64(len(b.Label)) > b.X+b.Width {
					b.Label = ""
				}
			}
		}
	}
	l.Y = tlTop + float64(len(tl.Lanes))*tlLane
	l.BandY = l.Y + (tlLane-tlBand)/2
	tl.Lanes = append(tl.Lanes, l)
}

// span chooses the time that is shown: what is published and what is planned,
// about one rotation and its grace period to each side.
func (tl *timeline) span(policies map[client.Alg]client.Policy, all []client.Key) {
	back, ahead := time.Hour, time.Hour
	for _, k := range all {
		p := policies[k.Alg]
		interval := cmp.Or(seconds(p.RotationIntervalSeconds), 14*24*time.Hour)
		limit := interval*3/2 + seconds(p.GracePeriodSeconds)
		var ends []*time.Time
		if isPublished(k) {
			ends = []*time.Time{k.NextTransitionAt, k.ExpiresAt}
		}
		if isPublished(k) || len(all) == 1 { // all that is known of a key on its own page
			back = max(back, min(tl.now.Sub(k.PublishedAt), limit))
			ends = append(ends, k.LastTokenExpiresAt)
		}
		if left := leftAt(k); left != nil {
			back = max(back, min(tl.now.Sub(*left)*3/2, limit))
		}
		for _, t := range ends {
			if t == nil {
				continue
			}
			after := time.Duration(0)
			if k.State == client.KeyStateActive {
				after = seconds(p.GracePeriodSeconds)
			}
			ahead = max(ahead, min(t.Sub(tl.now)+after, limit))
		}
	}
	tl.From, tl.Until = tl.now.Add(-back-(back+ahead)/40), tl.now.Add(ahead+(back+ahead)/30)
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// leftAt is when a key left the JWKS, nil if it is there.
func leftAt(k client.Key) *time.Time {
	if k.RevokedAt != nil {
		return k.RevokedAt
	}
	if k.State == client.KeyStateExpired {
		return k.ExpiresAt
	}
	return nil
}

// x is where a time lies; times beyond the edges lie on them.
func (tl *timeline) x(t time.Time) float64 {
	share := float64(t.Sub(tl.From)) / float64(tl.Until.Sub(tl.From))
	return tlLeft + (tlWidth-tlLeft-10)*min(max(share, 0), 1)
}

var kindNames = map[string]string{
	"standby": "published, standby", "active": "signing", "deprecated": "verifying only", "revoked": "revoked", "expired": "expired",
}

func (tl *timeline) laneOf(p client.Policy, k client.Key) lane {
	l := lane{Key: k, KID: k.KID, Name: shortKID(k.KID), Alg: string(k.Alg), State: string(k.State)}
	standbyEnds := firstOf(k.ActivatedAt, k.RevokedAt, k.DeprecatedAt)
	if k.DeprecatedAt == nil || k.ActivatedAt != nil { // an imported public key never stood by
		tl.span1(&l, "standby", k.PublishedAt, standbyEnds, k.State == client.KeyStateStandby, k.NextTransitionAt)
	}
	if k.ActivatedAt != nil {
		tl.span1(&l, "active", *k.ActivatedAt, firstOf(k.DeprecatedAt, k.RevokedAt), k.State == client.KeyStateActive, k.NextTransitionAt)
	}
	if k.DeprecatedAt != nil {
		ends := k.RevokedAt
		if ends == nil && k.State == client.KeyStateExpired {
			ends = k.ExpiresAt
		}
		tl.span1(&l, "deprecated", *k.DeprecatedAt, ends, k.State == client.KeyStateDeprecated, firstOf(k.NextTransitionAt, k.ExpiresAt))
	}
	switch k.State {
	case client.KeyStateStandby:
		if k.NextTransitionAt != nil {
			begin := tl.notBefore(*k.NextTransitionAt)
			tl.plan(&l, "active", begin, begin.Add(cmp.Or(seconds(p.RotationIntervalSeconds), tl.Until.Sub(begin))))
		}
		if ready := k.PublishedAt.Add(seconds(p.PublishLeadSeconds)); p.PublishLeadSeconds > 0 && ready.Before(tl.Until) {
			l.Marks = append(l.Marks, mark{"lead", tl.x(ready), "Publish lead over: every well-behaved cache has this key from " + at(ready)})
		}
	case client.KeyStateActive:
		if k.NextTransitionAt != nil {
			begin := tl.notBefore(*k.NextTransitionAt)
			tl.plan(&l, "deprecated", begin, begin.Add(seconds(p.GracePeriodSeconds)))
		}
	case client.KeyStateRevoked:
		tl.gone(&l, "revoked", *k.RevokedAt)
		l.Marks = append(l.Marks, mark{"revoked", tl.x(*k.RevokedAt), "Revoked " + at(k.RevokedAt)})
	case client.KeyStateExpired:
		if k.ExpiresAt != nil {
			tl.gone(&l, "expired", *k.ExpiresAt)
		}
	}
	if k.LastTokenExpiresAt != nil && k.LastTokenExpiresAt.After(tl.now) && k.State != client.KeyStateStandby {
		from, to := tl.now, *k.LastTokenExpiresAt
		l.Alive = &band{Kind: "alive", X: tl.x(from), Width: max(tl.x(to)-tl.x(from), 3), Text: "Tokens signed with this key live until " + at(to), From: from, Until: to}
		l.Rows = append(l.Rows, tlRow{"tokens that may still be in use", from, &to, false})
	}
	return l
}

func firstOf(times ...*time.Time) *time.Time {
	for _, t := range times {
		if t != nil {
			return t
		}
	}
	return nil
}

// notBefore returns t, or now if that is later: what is overdue happens next.
func (tl *timeline) notBefore(t time.Time) time.Time {
	return slices.MaxFunc([]time.Time{t, tl.now}, time.Time.Compare)
}

// span1 adds the time in one state: what has been, and for the state that a key is
// in what is planned to follow.
func (tl *timeline) span1(l *lane, kind string, from time.Time, ended *time.Time, current bool, planned *time.Time) {
	until := tl.now
	if ended != nil && !current {
		until = *ended
	} else if !current {
		return
	}
	tl.draw(l, band{Kind: kind, From: from, Until: until}, current)
	row := tlRow{What: kindNames[kind], From: from, Until: &until}
	if current {
		row.Until = planned
		end := tl.Until
		if planned != nil {
			end = *planned
		}
		if end.After(tl.now) {
			tl.draw(l, band{Kind: kind, Planned: true, From: tl.now, Until: end}, planned == nil)
		}
	}
	l.Rows = append(l.Rows, row)
}

// plan adds a state that a key is to come into.
func (tl *timeline) plan(l *lane, kind string, from, until time.Time) {
	tl.draw(l, band{Kind: kind, Planned: true, From: from, Until: until}, false)
	l.Rows = append(l.Rows, tlRow{kindNames[kind], from, &until, true})
}

// gone marks the time since a key left the JWKS.
func (tl *timeline) gone(l *lane, kind string, from time.Time) {
	tl.draw(l, band{Kind: kind, From: from, Until: tl.now}, true)
	l.Rows = append(l.Rows, tlRow{kindNames[kind], from, nil, false})
}

func (tl *timeline) draw(l *lane, b band, open bool) {
	b.X = tl.x(b.From)
	if b.Width = tl.x(b.Until) - b.X; b.Width < 2 {
		if b.Kind == "standby" && !open || b.Until.Before(tl.From) || b.From.After(tl.Until) || b.Planned && b.Until.Sub(b.From) < time.Minute {
			return
		}
		b.Width = 2
	}
	word := kindNames[b.Kind]
	if label := labels[b.Kind]; b.Width > 7.5*float64(len(label))+10 {
		b.Label, b.LabelX = label, b.X+9
	}
	ends := "until " + at(b.Until)
	switch {
	case open && !b.Planned:
		ends = "until now"
	case open:
		ends = "with no planned end"
	}
	b.Text = fmt.Sprintf("%s: %s from %s %s", l.Name, word, at(b.From), ends)
	if b.Planned {
		b.Text = fmt.Sprintf("%s: planned, %s from %s %s", l.Name, word, at(b.From), ends)
	}
	l.Bands = append(l.Bands, b)
}

var labels = map[string]string{"standby": "standby", "active": "signing", "deprecated": "verifying only", "revoked": "revoked", "expired": "expired"}

// plannedLane is the standby that the next rotation of a policy creates.
func (tl *timeline) plannedLane(p client.Policy, all []client.Key) (lane, bool) {
	i := slices.IndexFunc(all, func(k client.Key) bool { return k.Alg == p.Alg && k.State == client.KeyStateStandby })
	if i < 0 || all[i].NextTransitionAt == nil || p.RotationIntervalSeconds == 0 {
		return lane{}, false
	}
	begin := tl.notBefore(*all[i].NextTransitionAt)
	if !begin.Before(tl.Until) {
		return lane{}, false
	}
	l := lane{Name: "next standby", Alg: string(p.Alg), State: "planned"}
	tl.plan(&l, "standby", begin, begin.Add(seconds(p.RotationIntervalSeconds)))
	return l, true
}

// ticks marks round times, five or so.
func (tl *timeline) ticks() {
	steps := []time.Duration{
		time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour, 91 * 24 * time.Hour, 365 * 24 * time.Hour,
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if tl.Until.Sub(tl.From)/s <= 8 {
			step = s
			break
		}
	}
	for t := tl.From.Truncate(step).Add(step); t.Before(tl.Until) && len(tl.Ticks) < 40; t = t.Add(step) {
		text := t.UTC().Format("2 Jan")
		if len(tl.Ticks) == 0 || t.UTC().Year() != t.Add(-step).UTC().Year() {
			text = t.UTC().Format("2 Jan 2006")
		}
		if step < 24*time.Hour {
			text = t.UTC().Format("15:04")
		}
		if x := tl.x(t); tlWidth-x > 24 && (x < tl.NowX-38 || x > tl.NowX+38) {
			tl.Ticks = append(tl.Ticks, tick{x, text})
		}
	}
}

// Left is where the lanes begin.
func (tl timeline) Left() float64 { return tlLeft }

// Right is where they end.
func (tl timeline) Right() float64 { return tlWidth - 10 }
