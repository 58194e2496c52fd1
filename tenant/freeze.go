package tenant

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Freeze is a window in which the schedule starts no rotation of the tenant's
// keys: a rotation that falls due inside is put off to its end. Everything else
// goes on: keys expire and are purged, standby keys are published, and people
// rotate and revoke as they like.
type Freeze struct {
	From   time.Time // the first moment inside
	Until  time.Time // the first moment outside
	Reason string    // free text; empty: none
}

// Bounds of the freezes of a tenant: the CHECKs of the table tenants.
const (
	maxFreezes      = 50
	longestFreeze   = 90 * 24 * time.Hour // a typing error must not end rotation for years
	maxFreezeReason = 200                 // characters
)

// Holds reports whether a moment is inside the window.
func (f Freeze) Holds(at time.Time) bool { return !at.Before(f.From) && at.Before(f.Until) }

// normalFreezes are the windows by their start, in microseconds of UTC; nil for
// none.
func normalFreezes(given []Freeze) []Freeze {
	if len(given) == 0 {
		return nil
	}
	out := make([]Freeze, len(given))
	for i, f := range given {
		out[i] = Freeze{From: f.From.UTC().Truncate(time.Microsecond), Until: f.Until.UTC().Truncate(time.Microsecond), Reason: f.Reason}
	}
	slices.SortStableFunc(out, func(a, b Freeze) int {
		if order := a.From.Compare(b.From); order != 0 {
			return order
		}
		return a.Until.Compare(b.Until)
	})
	return out
}

// validateFreezes names the windows by their place in the request.
func validateFreezes(broken *fields, given []Freeze) {
	if len(given) > maxFreezes {
		broken.add("freeze_windows", "must be at most %d windows", maxFreezes)
		return
	}
	for i, f := range given {
		switch {
		case f.From.Before(time.Unix(0, 0)) || f.From.After(endOfTime):
			broken.add(freezeField(i, "from"), "must be a time from 1970 to 9999")
		case !f.Until.After(f.From) || f.Until.Sub(f.From) > longestFreeze:
			broken.add(freezeField(i, "until"), "must be after from, by at most 90 days")
		case utf8.RuneCountInString(f.Reason) > maxFreezeReason || !utf8.ValidString(f.Reason) || strings.ContainsRune(f.Reason, 0):
			broken.add(freezeField(i, "reason"), "must be at most %d characters", maxFreezeReason)
		}
	}
}

// freezeDetails is the windows as an audit event tells of them, in the API's
// words.
func freezeDetails(freezes []Freeze) any {
	if len(freezes) == 0 {
		return nil
	}
	out := make([]map[string]any, len(freezes))
	for i, f := range freezes {
		out[i] = map[string]any{"from": f.From.Format(time.RFC3339Nano), "until": f.Until.Format(time.RFC3339Nano)}
		if f.Reason != "" {
			out[i]["reason"] = f.Reason
		}
	}
	return out
}

func freezeField(i int, member string) string { return fmt.Sprintf("freeze_windows[%d].%s", i, member) }

func sameFreezes(a, b Tenant) bool { return reflect.DeepEqual(a.Freezes, b.Freezes) }

// freezesOf reads the columns of a row; see migrations/00002_tenants.sql.
func freezesOf(starts, ends []time.Time, reasons []string) []Freeze {
	var out []Freeze
	for i := range starts {
		out = append(out, Freeze{From: starts[i].UTC(), Until: ends[i].UTC(), Reason: reasons[i]})
	}
	return out
}

// freezeColumns is the reverse; none are empty arrays, since NULL stands for
// those that are stored already.
func freezeColumns(freezes []Freeze) (starts, ends []time.Time, reasons []string) {
	starts, ends, reasons = []time.Time{}, []time.Time{}, []string{}
	for _, f := range freezes {
		starts, ends, reasons = append(starts, f.From), append(ends, f.Until), append(reasons, f.Reason)
	}
	return starts, ends, reasons
}
