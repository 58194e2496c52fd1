package audit_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

// chainOf is a chain of n events with odd texts, as an export writes it.
func chainOf(t *testing.T, id uuid.UUID, n int) (events []audit.Event, lines []string) {
	t.Helper()
	events = make([]audit.Event, n)
	for i := range events {
		events[i] = sample()
		events[i].Reason = fmt.Sprintf("no. %d <&> \u2028 \\ \" ☃", i+1)
		if i%2 == 0 {
			events[i].Details = audit.Details(map[string]any{"html": "<b>", "n": 1e21})
			events[i].KID, events[i].FromState = "", ""
		}
	}
	_, events = audit.Chain(audit.Genesis(id), events)
	for i := range events {
		events[i].Tenant = "acme"
		lines = append(lines, string(audit.AppendLine(nil, events[i])))
	}
	return events, lines
}

func TestALineIsTheEvent(t *testing.T) {
	events, lines := chainOf(t, sampleTenant, 4)
	for i, e := range events {
		if strings.Count(lines[i], "\n") != 1 || !strings.HasSuffix(lines[i], "}\n") {
			t.Errorf("%q", lines[i])
		}
		got, err := audit.ParseLine([]byte(lines[i]))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("read %+v, %v\nwrote %+v", got, err, e)
		}
	}
}

// verifyLines returns the seq at which lines break, 0 for none, and how many
// events were good.
func verifyLines(t *testing.T, lines []string) (broken, good int64) {
	t.Helper()
	var v audit.Verifier
	for _, l := range lines {
		e, err := audit.ParseLine([]byte(l))
		if err != nil {
			t.Fatal(err)
		}
		var at *audit.BrokenError
		if err := v.Add(e); errors.As(err, &at) {
			return at.Seq, v.Head().Seq
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return 0, v.Head().Seq
}

func TestVerifierFindsWhatWasDoneToAnExport(t *testing.T) {
	_, lines := chainOf(t, sampleTenant, 8)
	_, foreign := chainOf(t, uuid.Max, 8)
	if broken, good := verifyLines(t, lines); broken != 0 || good != 8 {
		t.Fatalf("the export itself: broken at %d of %d", broken, good)
	}
	with := func(i int, old, new string) []string {
		changed := slices.Clone(lines)
		if changed[i] = strings.Replace(lines[i], old, new, 1); changed[i] == lines[i] {
			t.Fatalf("nothing to change in %s", lines[i])
		}
		return changed
	}
	swapped := slices.Clone(lines)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	for name, c := range map[string]struct {
		lines []string
		at    int64
	}{
		"reason":        {with(3, "no. 4", "no. 5"), 4},
		"details":       {with(3, `{ "b": 1`, `{ "b": 2`), 4},
		"a blank":       {with(3, `{ "b": 1`, `{"b": 1`), 4},
		"time":          {with(0, "00.000001Z", "00.000002Z"), 1},
		"actor":         {with(7, `"näme"`, `"name"`), 8},
		"another kid":   {with(3, `"kid":"kid"`, `"kid":"dik"`), 4},
		"seq":           {with(3, `"seq":4`, `"seq":5`), 4},
		"reordered":     {swapped, 3},
		"one is gone":   {slices.Delete(slices.Clone(lines), 4, 5), 5},
		"twice":         {slices.Insert(slices.Clone(lines), 4, lines[3]), 5},
		"no beginning":  {lines[2:], 1},
		"newest first":  {[]string{lines[7], lines[6]}, 1},
		"of another":    {append(slices.Clone(lines[:5]), foreign[5:]...), 6},
		"renamed chain": {append(slices.Clone(lines[:5]), strings.Replace(foreign[5], uuid.Max.String(), sampleTenant.String(), 1)), 6},
	} {
		if broken, good := verifyLines(t, c.lines); broken != c.at || good != c.at-1 {
			t.Errorf("%s: broken at %d after %d, want %d", name, broken, good, c.at)
		}
	}
}

// What other readers could understand differently is no line.
func TestLinesThatAreNone(t *testing.T) {
	_, lines := chainOf(t, sampleTenant, 2)
	l := lines[1]
	for name, text := range map[string]string{
		"empty":         "",
		"cut off":       l[:len(l)/2],
		"not an object": "[]",
		"null":          "null",
		"twice":         strings.Replace(l, `"kid":`, `"kid":"x","kid":`, 1),
		"another case":  strings.Replace(l, `"kid":`, `"KID":"x","kid":`, 1),
		"unknown":       strings.Replace(l, `"kid":`, `"note":"x","kid":`, 1),
		"in the actor":  strings.Replace(l, `"id":"id"`, `"id":"id","ID":"x"`, 1),
		"short hash":    strings.Replace(l, `"hash":"`, `"hash":"00`, 1),
		"nanoseconds":   strings.Replace(l, "000001Z", "0000019Z", 1),
		"two events":    l + l,
	} {
		if text == l {
			t.Fatalf("%s changes nothing", name)
		}
		if e, err := audit.ParseLine([]byte(text)); !errors.Is(err, audit.ErrLine) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// A spreadsheet runs no text of others as a formula, and every text comes back.
func TestRowsHoldNoFormulas(t *testing.T) {
	for _, text := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "plain", "", `a,"b"` + "\r\nc"} {
		e := sample()
		e.Reason, e.Actor.Name, e.Actor.ID = text, text, text
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.UseCRLF = true
		if err := errors.Join(w.Write(audit.CSVColumns), w.Write(audit.CSVRow(e))); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != len(audit.CSVColumns) {
			t.Fatalf("%q: %v, %v", text, rows, err)
		}
		for _, column := range []string{"actor_id", "actor_name", "reason"} {
			cell := rows[1][slices.Index(audit.CSVColumns, column)]
			if cell != "" && strings.Contains("=+-@\t\r", cell[:1]) {
				t.Errorf("%s is the formula %q", column, cell)
			}
			if back := strings.TrimPrefix(cell, "'"); back != strings.ReplaceAll(text, "\r\n", "\n") { // as encoding/csv reads
				t.Errorf("%s: %q came back as %q", column, text, back)
			}
		}
		if details := rows[1][slices.Index(audit.CSVColumns, "details")]; !json.Valid([]byte(details)) || details != string(e.Details) {
			t.Errorf("details %s", details)
		}
	}
}
