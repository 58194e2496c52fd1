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

// The commands of the README work as printed, except for address, directory and
// scratch file.
func TestReadmeTour(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here to paste the commands for")
	}
	needPostgres(t)
	blocks := toured(t, "README.md", 6)
	dir := dataDir(t)
	i := start(t, dir, nil)
	i.wantReady(t)
	out := pasteTour(t, i, dir, blocks)
	wantInOrder(t, out,
		`--- 1`, `"slug":"acme"`, `"items":[`, `"state":"`, // created
		`--- 2`, `"token":"`, `"keys":[`, // signed
		`--- 3`, `"timeline":[`, `"published_seconds":`, `"valid":true`, // rotated
		`--- 4`, `"trusted_until":[`, `"code":"key_revoked"`, `"valid":false`, // revoked
		`--- 5`, `"action":"tenant.created"`, `"action":"key.revoked"`, `"intact":true`, // audited
	)
}

// The commands of the documents about tenants work, in their order.
func TestToursOfTheDocuments(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here to paste the commands for")
	}
	needPostgres(t)
	dir := dataDir(t)
	i := start(t, dir, nil)
	i.wantReady(t)
	wantInOrder(t, pasteTour(t, i, dir, toured(t, "docs/algorithms.md", 5)),
		`--- 1`, `"created":true`, `"alg":"RS256"`, `"default":false`, // published
		`--- 2`, `"token":"`,
		`--- 3`, `"default":true`, `"token":"`, // switched
		`--- 4`, `"timeline":[`, `"id_token_signing_alg_values_supported":["RS256","ES256"]`, // retired
	)
	wantInOrder(t, pasteTour(t, i, dir, toured(t, "docs/operations.md", 6)),
		`--- 1`, `"status":"suspended"`, `"keys":[`, `"status":"active"`,
		`--- 2`, `"jwks_after":`, `"rotation_interval_seconds":604800`,
		`--- 3`, `"freeze_windows":[`, `"next_transition_at":"`,
		`--- 4`, `"not_before":"`,
		`--- 5`, `"token":"`, `"safe_to_retire_at":"`, `"breaks_tokens_until":"`, `"dry_run":true`,
	)
}

// toured returns the command blocks of a document that are marked as a tour, at
// least the given number.
func toured(t *testing.T, document string, least int) [][][]byte {
	t.Helper()
	text, err := os.ReadFile("../../" + document)
	if err != nil {
		t.Fatal(err)
	}
	blocks := tourBlock.FindAllSubmatch(text, -1)
	if len(blocks) < least {
		t.Fatalf("%s has %d blocks of commands marked as its tour", document, len(blocks))
	}
	return blocks
}

// pasteTour runs command blocks in one shell and returns their output.
func pasteTour(t *testing.T, i *instance, dir string, blocks [][][]byte) string {
	t.Helper()
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
	return string(out)
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
