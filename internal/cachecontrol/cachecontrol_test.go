package cachecontrol

import (
	"net/http"
	"testing"
	"time"
)

func TestDirective(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"public, max-age=300, stale-if-error=86400": 5 * time.Minute, "Max-Age=1": time.Second, "no-store": 0, "": 0, "max-age=x": 0, "max-age=-5": 0, "s-max-age=3": 0,
	} {
		if got := Directive(http.Header{"Cache-Control": {value}}, "max-age"); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
