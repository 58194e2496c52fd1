package main

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// The goroutine dump of SIGQUIT has no private key, not even in the words of
// arguments.
func TestDumpOfAllGoroutinesHoldsNoKey(t *testing.T) {
	env := deployed(t)
	made := keyward(t, env, "api-key", "create", "--role=platform_admin")
	cmd, stderr := real(t, env, "serve", "--log-format=text")
	rec := &recorder{key: strings.TrimSpace(made.stdout)}
	for stderr.Scan() {
		if _, after, ok := strings.Cut(stderr.Text(), "msg=serving url="); ok {
			rec.url, _, _ = strings.Cut(after, " ")
			break
		}
	}
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"ES256","default":true},{"alg":"EdDSA","default":false},{"alg":"RS256","default":false}]}`, true)
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		rec.ask(t, "POST", "/v1/tenants/acme/tokens", `{"claims":{},"alg":"`+alg+`"}`, true)
	}
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	var dump strings.Builder
	for stderr.Scan() {
		dump.WriteString(stderr.Text() + "\n")
	}
	if !strings.Contains(dump.String(), "goroutine ") || !strings.Contains(rec.answers.String(), "RS256") {
		t.Fatalf("%s\n%s", rec.answers.String(), dump.String())
	}
	for _, secret := range privateKeys(t, env, "acme") {
		wantAbsent(t, dump.String(), "a private key", secret)
		for rest := secret; len(rest) >= 8 && len(secret) <= 32; rest = rest[8:] {
			word := fmt.Sprintf("%x", binary.LittleEndian.Uint64(rest))
			if strings.Contains(dump.String(), word) {
				t.Error("eight bytes of a private key are in the dump")
			}
		}
	}
}
