package webhook

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// A delivery that always fails is tried 15 times, ever more seldom, in less
// than a day.
func TestBackoff(t *testing.T) {
	for range 100 {
		now, last, tried := noon, time.Duration(0), 0
		for v := (verdict{status: Pending}); v.status == Pending; tried++ {
			if v = judgeAnswer(answer{status: 500, class: "refused"}, claim{}, dueDelivery{attempts: tried, askedAt: noon}, now); v.dueAt == nil {
				continue
			}
			pause := v.dueAt.Sub(now)
			if tried < 11 && pause < last || pause < 8*time.Second || pause > longestPause {
				t.Errorf("%s after attempt %d, %s before", pause, tried+1, last)
			}
			now, last = *v.dueAt, pause
		}
		if took := now.Sub(noon); tried != maxAttempts || took > patience || took < 18*time.Hour {
			t.Errorf("%d attempts in %s", tried, took)
		}
	}
	if backoff(1<<40) > longestPause {
		t.Error("a pause has no end")
	}
}

func TestVerdicts(t *testing.T) {
	old, day := noon.Add(-giveUpAfter), noon.Add(-patience)
	for name, c := range map[string]struct {
		answer answer
		claim  claim
		due    dueDelivery
		holds  func(verdict) bool
	}{
		"taken": {answer{status: 200}, claim{failures: 14, failingSince: &old}, dueDelivery{attempts: 14}, func(v verdict) bool {
			return v.status == Delivered && v.deliveredAt.Equal(noon) && v.failures == 0 && v.failingSince == nil && v.pause == 0 && v.disable == ""
		}},
		"refused: others go on": {answer{status: 500, class: "refused"}, claim{}, dueDelivery{askedAt: noon}, func(v verdict) bool {
			return v.status == Pending && v.failures == 1 && v.failingSince.Equal(noon) && v.pause == 0
		}},
		"nobody there: others wait": {answer{class: "timeout"}, claim{failures: 2, failingSince: &noon}, dueDelivery{askedAt: noon}, func(v verdict) bool {
			return v.status == Pending && v.failures == 3 && v.pause >= 32*time.Second && v.pause <= 40*time.Second
		}},
		"nobody there for long": {answer{class: "timeout"}, claim{failures: 40, failingSince: &noon}, dueDelivery{askedAt: noon}, func(v verdict) bool {
			return v.pause <= longestRest && v.disable == ""
		}},
		"later": {answer{status: 503, class: "refused", retryAfter: time.Hour}, claim{}, dueDelivery{askedAt: noon}, func(v verdict) bool {
			return v.pause == time.Hour && v.dueAt.Equal(noon.Add(time.Hour))
		}},
		"much later": {answer{status: 503, class: "refused", retryAfter: 1000 * time.Hour}, claim{}, dueDelivery{askedAt: noon}, func(v verdict) bool {
			return v.pause == longestPause && v.dueAt.Equal(noon.Add(longestPause))
		}},
		"a day is over": {answer{status: 500, class: "refused"}, claim{}, dueDelivery{attempts: 3, askedAt: day}, func(v verdict) bool { return v.status == Failed && v.dueAt == nil }},
		"gone":          {answer{status: 410, class: "gone"}, claim{}, dueDelivery{askedAt: noon}, func(v verdict) bool { return v.status == Failed && v.disable == Gone }},
		"failing for days": {answer{class: "timeout"}, claim{failures: 14, failingSince: &old}, dueDelivery{askedAt: noon}, func(v verdict) bool {
			return v.disable == Failing
		}},
		"failing for days, but seldom": {answer{class: "timeout"}, claim{failures: 3, failingSince: &old}, dueDelivery{askedAt: noon}, func(v verdict) bool {
			return v.disable == ""
		}},
	} {
		if v := judgeAnswer(c.answer, c.claim, c.due, noon); !c.holds(v) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		actions []string
		action  string
		want    bool
	}{
		{nil, "key.revoked", true},
		{[]string{"key.revoked"}, "key.revoked", true},
		{[]string{"key.*"}, "key.revoked", true},
		{[]string{"key.created"}, "key.revoked", false},
		{[]string{"key.*"}, "data_key.created", false},
		{[]string{"tenant.*", "key.purged"}, "key.purged", true},
	} {
		if got := matchesActions(c.actions, c.action); got != c.want {
			t.Errorf("%v wants %s: %v", c.actions, c.action, got)
		}
	}
}
