package httpapi

import (
	"net/http/httptest"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// Without an admin address the metrics are for clients on this machine, and not for
// those behind a proxy on it.
func TestMetricsAreLocalWithoutAnAdminAddress(t *testing.T) {
	w := newWorldLike(t, dbtest.New(t), func(c *Config) { c.LocalMetrics = true })
	for _, c := range []struct {
		peer, header, value string
		status              int
	}{
		{"127.0.0.1:4000", "", "", 200},
		{"[::1]:4000", "", "", 200},
		{"203.0.113.7:4000", "", "", 404},
		{"[2001:db8::1]:4000", "", "", 404},
		{"127.0.0.1:4000", "X-Forwarded-For", "203.0.113.7", 404},
		{"127.0.0.1:4000", "X-Forwarded-For", "127.0.0.1", 404},
		{"127.0.0.1:4000", "Forwarded", "for=203.0.113.7", 404},
		{"203.0.113.7:4000", "X-Forwarded-For", "127.0.0.1", 404},
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		if r.RemoteAddr = c.peer; c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		answer := httptest.NewRecorder()
		w.server.ServeHTTP(answer, r)
		if answer.Code != c.status {
			t.Errorf("%+v: %d", c, answer.Code)
		}
	}
}
