package jwks

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Whatever an answer says about its freshness, a set is used within the bounds of the
// configuration.
func FuzzFreshness(f *testing.F) {
	for _, seed := range []string{
		"max-age=300, stale-while-revalidate=60", "max-age=1, max-age=2", `max-age="5"`, "max-age=99999999999999999999", "no-store", "max-age=-1", "max-age", `x="a,max-age=1", max-age=5`, "stale-if-error=1", `"\",`, "MAX-AGE=7",
	} {
		f.Add(seed, "", "", "0")
	}
	f.Add("", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "99999999999999999999")
	f.Add("", "0", "", "-1, 5")
	f.Fuzz(func(t *testing.T, control, expires, date, age string) {
		header := http.Header{"Cache-Control": {control}, "Age": {age}, "Date": {date}}
		if expires != "" {
			header.Set("Expires", expires)
		}
		const least, most = time.Second, time.Hour
		c := parseCacheControl(header)
		for _, now := range []time.Time{{}, time.Unix(1_800_000_000, 0)} {
			if d := c.freshness(header, now, least, most); d < least || d > most {
				t.Errorf("%v: %v", header, d)
			}
		}
		for _, configured := range []time.Duration{-1, 0, time.Minute} {
			if d := c.staleTime(configured); d < 0 || d > max(configured, maxUnaskedStale) {
				t.Errorf("%v: stale for %v", header, d)
			}
		}
		if at := parseEpoch(control); !at.IsZero() && (at.Unix() < -1<<40 || at.Year() > 1<<20) {
			t.Errorf("%q: %v", control, at)
		}
	})
}

// A signed set is accepted only with a signature of a pinned key, and its claims are read
// whole or not at all.
func FuzzSignedSet(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"https://x","sub":"https://x","iat":1,"exp":2,"keys":[]}`, `{"iss":"a","sub":"b","iat":1e400}`, `{"iss":"a","iss":"b","sub":"c","iat":1}`, `{"iss":1}`, `{"iss":"a","sub":"b","iat":1,"epoch":-1,"version":1.5}`, `{}`, ``,
		`{"iss":"a","sub":"b","iat":1} `, `{"iss":"a","sub":"b","iat":99999999999999999999}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		if c, ok := readSignedSet(payload); ok && (c.issuer == "" || c.subject == "" || c.issuedAt.IsZero() || c.epoch < 0 || c.version < 0 || strings.Count(payload, `"iat"`) > 1 && !strings.Contains(payload, `{`)) {
			t.Errorf("%q: %+v", payload, c)
		}
		for _, k := range parsePinned([]byte(payload), 100) {
			if k == nil {
				t.Errorf("%q: no key", payload)
			}
		}
	})
}
