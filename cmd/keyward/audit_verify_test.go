package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

// exportOf writes a chain as an export and returns its lines.
func exportOf(t *testing.T, id uuid.UUID, n int) (file string, lines []string) {
	t.Helper()
	events := make([]audit.Event, n)
	for i := range events {
		events[i] = audit.Event{At: time.Unix(int64(i), 1000), Action: audit.KeyCreated, Actor: audit.Actor{Type: audit.ActorWorker, ID: "w", Name: "w"}}
	}
	_, events = audit.Chain(audit.Genesis(id), events)
	for _, e := range events {
		lines = append(lines, string(audit.AppendLine(nil, e)))
	}
	return fileOf(t, strings.Join(lines, "")), lines
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func verifyAudit(args ...string) (code int, said string) {
	var out bytes.Buffer
	code = runProgram(context.Background(), append([]string{"audit", "verify"}, args...), strings.NewReader(""), &out, &out, func(string) string { return "" })
	return code, out.String()
}

// An export is verified without a server, and an error names the line.
func TestAuditVerifyOffline(t *testing.T) {
	id := uuid.MustParse("0195a0b0-1111-7222-8333-444455556666")
	whole, lines := exportOf(t, id, 6)
	if code, said := verifyAudit("--export", whole); code != exitOK || !strings.Contains(said, "intact: 6 events") {
		t.Errorf("%d %s", code, said)
	}
	first, rest := fileOf(t, strings.Join(lines[:3], "")), fileOf(t, strings.Join(lines[3:], ""))
	if code, said := verifyAudit("--export", first, "--export", rest); code != exitOK || !strings.Contains(said, "intact: 6 events") {
		t.Errorf("in two parts: %d %s", code, said)
	}
	for name, c := range map[string]struct{ text, says string }{
		"changed":   {strings.Join(lines[:3], "") + strings.Replace(lines[3], `"w"`, `"v"`, 1), "broken at seq 4"},
		"missing":   {lines[0] + lines[2], "broken at seq 2"},
		"reordered": {lines[1] + lines[0], "broken at seq 1"},
		"cut off":   {lines[0] + lines[1][:40], "intact up to seq 1"},
		"empty":     {"", "no event"},
	} {
		if code, said := verifyAudit("--export", fileOf(t, c.text)); code != exitFailed || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	if code, _ := verifyAudit(); code != exitUsage {
		t.Errorf("without an export: %d", code)
	}
	if code, _ := verifyAudit("--export", whole, "--checkpoint", whole); code != exitUsage {
		t.Errorf("a checkpoint without keys: %d", code)
	}
}

// A checkpoint detects a rewritten or truncated chain, and is accepted only if
// signed with a given key.
func TestAuditVerifyAgainstACheckpoint(t *testing.T) {
	id := uuid.MustParse("0195a0b0-1111-7222-8333-444455556666")
	whole, lines := exportOf(t, id, 6)
	last, err := audit.ParseLine([]byte(lines[5]))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := exportOf(t, uuid.Max, 6)
	checkpoint, set := signCheckpoint(t, last)
	_, foreign := signCheckpoint(t, last)
	rewritten := last
	rewritten.Hash = bytes.Repeat([]byte{1}, 32)
	forked, forkedSet := signCheckpoint(t, rewritten)
	for name, c := range map[string]struct {
		export, checkpoint, set string
		code                    int
		says                    string
	}{
		"as it was":         {whole, checkpoint, set, exitOK, "includes the checkpoint"},
		"cut off":           {fileOf(t, strings.Join(lines[:5], "")), checkpoint, set, exitFailed, "ends at seq 5"},
		"rewritten":         {whole, forked, forkedSet, exitFailed, "up to seq 6 was rewritten"},
		"by a wrong key":    {whole, checkpoint, foreign, exitFailed, "not a valid checkpoint"},
		"of another tenant": {other, checkpoint, set, exitFailed, "belongs to another tenant"},
	} {
		code, said := verifyAudit("--export", c.export, "--checkpoint", c.checkpoint, "--jwks", c.set)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
}
