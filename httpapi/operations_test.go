package httpapi

import (
	"fmt"
	"testing"
	"time"
)

// Freeze windows at creation and by PATCH, and what keys and a dry run say of
// them.
func TestFreezeWindows(t *testing.T) {
	w := newWorld(t)
	until := time.Now().Add(35 * 24 * time.Hour).UTC().Truncate(time.Second)
	window := fmt.Sprintf(`{"from":%q,"until":%q,"reason":"year end"}`, until.Add(-20*24*time.Hour).Format(time.RFC3339), until.Format(time.RFC3339))
	var acme Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","freeze_windows":[`+window+`]}`).ok(201, &acme)
	if len(acme.FreezeWindows) != 1 || !acme.FreezeWindows[0].Until.Equal(until) || *acme.FreezeWindows[0].Reason != "year end" {
		t.Fatalf("%+v", acme)
	}
	next := func() time.Time {
		t.Helper()
		return *w.keys("acme", KeyStateActive)[0].NextTransitionAt
	}
	if !next().Equal(until) {
		t.Errorf("the next rotation is said to be at %v, want %v", next(), until)
	}
	acme = Tenant{}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Acme"}`).ok(200, &acme)
	if len(acme.FreezeWindows) != 1 {
		t.Errorf("another change lost the window: %+v", acme)
	}
	for body, field := range map[string]string{
		`{"freeze_windows":[{"from":"2026-12-01T00:00:00Z","until":"2026-12-01T00:00:00Z"}]}`:         "freeze_windows[0].until",
		`{"freeze_windows":[` + window + `,{"from":"2026-12-01T00:00:00Z"}]}`:                         "freeze_windows[1].until",
		`{"freeze_windows":[{"from":"2026-12-01","until":"2026-12-02T00:00:00Z"}]}`:                   "freeze_windows[0].from",
		`{"freeze_windows":[{"from":"2026-12-01T00:00:00Z","until":"2026-12-02T00:00:00Z","why":1}]}`: "freeze_windows[0].why",
	} {
		p := w.do("PATCH", "/v1/tenants/acme", w.root, body).problem(ProblemCodeInvalidRequest)
		if len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
	acme = Tenant{}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"freeze_windows":null}`).ok(200, &acme)
	if len(acme.FreezeWindows) != 0 || !next().Before(until) {
		t.Errorf("cleared: %+v, next %v", acme, next())
	}
}
