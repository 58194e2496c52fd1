package tenant_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// One credential has a bounded number of sessions: beyond it the oldest ends, and no
// other credential's.
func TestSessionsOfACredentialAreBounded(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	start := func(key string) string {
		p, err := w.Authenticate(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := w.StartSession(t.Context(), somebody, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		return token
	}
	_, key := w.key(t, nil, tenant.PlatformAuditor)
	_, theirs := w.key(t, nil, tenant.PlatformAdmin)
	other := start(theirs)
	var tokens []string
	for range 103 {
		tokens = append(tokens, start(key))
	}
	for i, token := range append(tokens, other) {
		if _, err := w.FindSession(t.Context(), token, false); (err != nil) != (i < 3) {
			t.Errorf("session %d: %v", i, err)
		}
	}
}

// A row in console_sessions signs nobody in because it is there, and one that was
// changed signs nobody in any more.
func TestInsertedSessionIsRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	_, key := w.key(t, nil, tenant.PlatformAuditor)
	admin, _ := w.key(t, nil, tenant.PlatformAdmin)
	p, err := w.Authenticate(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := w.StartSession(t.Context(), somebody, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.FindSession(t.Context(), token, false); err != nil {
		t.Fatal(err)
	}
	insert := func(columns, values, mac string) string {
		return fmt.Sprintf("DELETE FROM console_sessions WHERE token_hash = sha256('mine'); INSERT INTO console_sessions (token_hash, created_at, last_seen_at, expires_at, %s, mac) SELECT sha256('mine'), created_at, last_seen_at, expires_at, %s, %s FROM console_sessions LIMIT 1", columns, values, mac)
	}
	const subject = "subject, subject_name, role"
	for _, c := range []struct{ token, sql string }{
		{"mine", insert(subject, "'me', 'me', 'platform_admin'", "NULL")},
		{"mine", insert(subject, "'me', 'me', 'platform_admin'", "mac")},
		{"mine", insert("api_key_id", "'"+admin.ID.String()+"'", "mac")},
		{token, fmt.Sprintf("UPDATE console_sessions SET api_key_id = '%s' WHERE token_hash = '\\x%x'", admin.ID, sha256.Sum256([]byte(token)))},
	} {
		dbtest.Exec(t, w.url, c.sql)
		if s, err := w.FindSession(t.Context(), c.token, false); !errors.Is(err, tenant.ErrUnauthenticated) {
			t.Errorf("%s: %+v, %v", c.sql, s.Role, err)
		}
	}
}
