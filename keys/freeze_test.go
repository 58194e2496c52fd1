package keys

import (
	"reflect"
	"testing"
	"time"

	"github.com/keyward/keyward/tenant"
)

// frozen is the default schedule with windows, given as from and until in days
// after t0.
func frozen(days ...float64) Schedule {
	return with(func(s *Schedule) {
		at := func(d float64) time.Time { return t0.Add(time.Duration(d * float64(day))) }
		for i := 0; i < len(days); i += 2 {
			s.Freezes = append(s.Freezes, tenant.Freeze{From: at(days[i]), Until: at(days[i+1])})
		}
	})
}

func TestFreezesPutRotationsOff(t *testing.T) {
	rotation := []Step{{Promote, "s"}, {Kind: CreateStandby}}
	both := []Key{active("a", t0), standby("s", t0)}
	for name, c := range map[string]struct {
		s     Schedule
		now   float64 // days after t0; the rotation is due on day 30
		steps []Step
		next  float64
	}{
		"asked long before":            {frozen(29, 32), 1, nil, 32},
		"inside":                       {frozen(29, 32), 31, nil, 32},
		"at the end":                   {frozen(29, 32), 32, rotation, 39},
		"begins at the due time":       {frozen(30, 31), 30, nil, 31},
		"ends at the due time":         {frozen(29, 30), 30, rotation, 37},
		"over before":                  {frozen(10, 20), 15, nil, 30},
		"another begins where it ends": {frozen(29, 31, 31, 33), 30, nil, 33},
		"one within another":           {frozen(20, 40, 29, 31), 30, nil, 40},
		"began when it was overdue":    {frozen(32, 35), 33, nil, 35},
		"begins tomorrow":              {frozen(31, 35), 30, rotation, 37},
	} {
		now := t0.Add(time.Duration(c.now * float64(day)))
		steps, next := Plan(now, c.s, both)
		if want := t0.Add(time.Duration(c.next * float64(day))); !reflect.DeepEqual(steps, c.steps) || !next.Equal(want) {
			t.Errorf("%s: %v, next %v, want %v, next %v", name, steps, next, c.steps, want)
		}
		if at := c.s.NextTransition(now, both[0], both); len(c.steps) == 0 && !at.Equal(next) {
			t.Errorf("%s: the key says %v", name, at)
		}
	}
}

// Keys expire and are purged, and what is missing is published, freeze or not.
func TestNothingElseWaitsForAFreeze(t *testing.T) {
	s := frozen(-1, 80)
	keys := []Key{active("a", t0), deprecated(s, "d", t0.Add(-7*day)), revoked("r", t0.Add(-90*day))}
	steps, _ := Plan(t0, s, keys)
	if want := []Step{{Expire, "d"}, {Purge, "r"}, {Kind: CreateStandby}}; !reflect.DeepEqual(steps, want) {
		t.Errorf("%v, want %v", steps, want)
	}
	steps, next := Plan(t0.Add(day), s, []Key{standby("s", t0)})
	if len(steps) != 0 || !next.Equal(t0.Add(80*day)) {
		t.Errorf("without an active key: %v, next %v", steps, next)
	}
}
