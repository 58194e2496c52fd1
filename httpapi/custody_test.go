package httpapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
)

// A private key that does not open is the operator's business: the caller is
// told nothing of it, the log names the row, and other tenants go on.
func TestDamagedKeyFailsClosed(t *testing.T) {
	w := newWorld(t)
	w.tenant("bystander")
	for slug, damage := range map[string]string{
		"flipped": "UPDATE keys SET sealed_private = set_byte(sealed_private, 40, get_byte(sealed_private, 40) # 1) WHERE state = 'active' AND tenant_id = ",
		"cut":     "UPDATE keys SET sealed_private = substr(sealed_private, 1, 60) WHERE state = 'active' AND tenant_id = ",
		"moved": `UPDATE keys SET sealed_private = (SELECT k.sealed_private FROM keys k JOIN tenants t ON t.id = k.tenant_id
			WHERE t.slug = 'bystander' AND k.state = 'active') WHERE state = 'active' AND tenant_id = `,
	} {
		made := w.tenant(slug)
		kid := w.keys(slug, KeyStateActive)[0].KID
		dbtest.Exec(t, w.dsn, "SET session_replication_role = replica; "+damage+"'"+made.ID.String()+"'")
		w.signer.Missed()
		before, logged := w.state(), len(w.log.String())
		for path, body := range map[string]string{
			"/tokens": `{"claims":{"sub":"x"}}`, "/sign": `{"payload":"eA"}`,
		} {
			a := w.do("POST", "/v1/tenants/"+slug+path, w.root, body)
			p := a.problem(ProblemCodeInternal)
			for _, leak := range []string{"seal", "open", "key", kid, made.ID.String()} {
				if strings.Contains(strings.ToLower(p.Detail), leak) {
					t.Errorf("%s %s tells %q: %s", slug, path, leak, a.body)
				}
			}
		}
		lines := w.log.String()[logged:]
		if !strings.Contains(lines, `"tenant_id":"`+made.ID.String()+`"`) || !strings.Contains(lines, `"kid":"`+kid+`"`) {
			t.Errorf("%s: the log does not name the row: %s", slug, lines)
		}
		if after := w.state(); after != before {
			t.Errorf("%s: something was changed:\n%s\n%s", slug, before, after)
		}
		w.do("POST", "/v1/tenants/bystander/tokens", w.root, `{"claims":{}}`).ok(200)
	}
}

// A handler that panics with a key in hand tells nobody which, and the log no
// more than that.
func TestPanicWithAKeyInHand(t *testing.T) {
	var log lockedBuffer
	h, err := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := keys.NewPrivate(keys.Ed25519, key)
	if err != nil {
		t.Fatal(err)
	}
	s := h.(*server)
	for name, value := range map[string]any{
		"raw": key, "in a struct": struct{ Key ed25519.PrivateKey }{key}, "as keys have it": private, "in an error": fmt.Errorf("with %v", private),
	} {
		s.echo.GET("/boom", s.handle("boom", func(echo.Context) error { panic(value) }))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/boom", nil))
		told := log.String() + rec.Body.String()
		if rec.Code != 500 || !strings.Contains(told, "httpapi: panic: ") {
			t.Errorf("%s: %d %s", name, rec.Code, told)
		}
		for _, spelt := range []string{
			string(key.Seed()), hex.EncodeToString(key.Seed()), base64.RawURLEncoding.EncodeToString(key.Seed()[3:]),
			strings.Trim(fmt.Sprint(key.Seed()), "[]"), fmt.Sprintf("%x", binary.LittleEndian.Uint64(key)),
		} {
			if strings.Contains(told, spelt) {
				t.Errorf("%s: the key is told: %s", name, told)
			}
		}
	}
}
