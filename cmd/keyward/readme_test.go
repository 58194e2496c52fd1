package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var tourBlock = regexp.MustCompile("(?s)```sh tour\n(.*?)```")

// The five minutes of the README, as a newcomer would paste them: only the
// address, the directory and the scratch file differ.
func TestReadmeTour(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here to paste the commands for")
	}
	needPostgres(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := tourBlock.FindAllSubmatch(readme, -1)
	if len(blocks) < 6 {
		t.Fatalf("the README has %d blocks of commands marked as its tour", len(blocks))
	}
	dir := dataDir(t)
	i := start(t, dir, nil)
	i.wantReady(t)
	script := "set -e\n"
	for n, block := range blocks {
		script += "echo '--- " + string(rune('0'+n)) + "'\n" + string(block[1])
	}
	script = strings.NewReplacer(
		"http://127.0.0.1:8080", i.url,
		".keyward/admin.key", shellQuote(filepath.Join(dir, "admin.key")),
		"/tmp/keyward-token", shellQuote(filepath.Join(t.TempDir(), "token")),
		"curl -sS", "curl -sS --fail-with-body",
	).Replace(script)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, _ = shown.Place("the commands of " + t.Name()).Write(append(out, '\n'))
	wantInOrder(t, string(out),
		`--- 1`, `"slug":"acme"`, `"items":[`, `"state":"`, // created
		`--- 2`, `"token":"`, `"keys":[`, // signed
		`--- 3`, `"timeline":[`, `"published_seconds":`, `"valid":true`, // rotated
		`--- 4`, `"trusted_until":[`, `"code":"key_revoked"`, `"valid":false`, // revoked
		`--- 5`, `"action":"tenant.created"`, `"action":"key.revoked"`, `"intact":true`, // audited
	)
}

func wantInOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%s is missing, or too early, in\n%s", part, text)
		}
		rest = after
	}
}
