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
		"missing":   {lines[0] + lines[2], "incomplete at seq 2: the export is filtered, or events were removed"},
		"reordered": {lines[1] + lines[0], "the export begins at seq 2"},
		"repeated":  {lines[0] + lines[1] + lines[0], "broken at seq 3"},
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

// An export that is not a whole history is refused for what it is, and not called
// broken: nobody changed anything.
func TestAuditVerifyTellsKindsOfExports(t *testing.T) {
	_, lines := exportOf(t, uuid.MustParse("0195a0b0-1111-7222-8333-444455556666"), 6)
	_, others := exportOf(t, uuid.Max, 2)
	for name, c := range map[string]struct{ text, says string }{
		"filtered":       {lines[0] + lines[3] + lines[5], "incomplete at seq 2"},
		"later events":   {lines[3] + lines[4], "--from and --to"},
		"newest first":   {lines[5] + lines[4] + lines[3], "newest first"},
		"of all tenants": {lines[0] + others[0] + lines[1] + others[1], "export one tenant at a time"},
		"CSV":            {"seq,at,tenant\r\n1,2026-01-01T00:00:00Z,acme\r\n", "CSV"},
	} {
		code, said := verifyAudit("--export", fileOf(t, c.text))
		if code != exitFailed || !strings.Contains(said, c.says) || strings.Contains(said, "broken") {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
}

// A part of a history is proved between two checkpoints, however much of it the export
// has, and not if anything between them was changed, removed or is missing.
func TestAuditVerifyPart(t *testing.T) {
	id := uuid.MustParse("0195a0b0-1111-7222-8333-444455556666")
	_, lines := exportOf(t, id, 9)
	pin := func(i int) (file, set string) {
		e, err := audit.ParseLine([]byte(lines[i-1]))
		if err != nil {
			t.Fatal(err)
		}
		return signCheckpoint(t, e)
	}
	from, fromSet := pin(3)
	to, toSet := pin(7)
	set := fileOf(t, `{"keys":[`+joinKeys(t, fromSet, toSet)+`]}`)
	changed := strings.Replace(lines[4], `"w"`, `"v"`, 1)
	for name, c := range map[string]struct {
		events []string
		code   int
		says   string
	}{
		"exactly":            {lines[3:7], exitOK, "intact: 4 events of tenant " + id.String() + ", seq 4 to 7"},
		"with its beginning": {lines[2:7], exitOK, "seq 3 to 7"},
		"more":               {lines[1:9], exitOK, "seq 2 to 9"},
		"everything":         {lines, exitOK, "intact: 9 events"},
		"late":               {lines[4:7], exitFailed, "the events between are missing"},
		"cut off":            {lines[3:6], exitFailed, "ends at seq 6"},
		"changed":            {[]string{lines[3], changed, lines[5], lines[6]}, exitFailed, "broken at seq 5"},
		"a gap":              {[]string{lines[3], lines[5], lines[6]}, exitFailed, "incomplete at seq 5"},
		"empty":              {nil, exitFailed, "no event"},
	} {
		code, said := verifyAudit("--from", from, "--to", to, "--jwks", set, fileOf(t, strings.Join(c.events, "")))
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	file := fileOf(t, strings.Join(lines[3:7], ""))
	if code, said := verifyAudit("--from", to, "--to", from, "--jwks", set, file); code != exitFailed || !strings.Contains(said, "exchange them") {
		t.Errorf("%d %s", code, said)
	}
	if code, said := verifyAudit("--from", from, "--jwks", set, file); code != exitUsage || !strings.Contains(said, "go together") {
		t.Errorf("%d %s", code, said)
	}
}

// joinKeys returns the keys of two JWK Sets, with the kids of signCheckpoint told apart.
func joinKeys(t *testing.T, sets ...string) string {
	t.Helper()
	var all []string
	for _, file := range sets {
		text := strings.TrimSuffix(strings.TrimPrefix(read(t, file), `{"keys":[`), `]}`)
		all = append(all, text)
	}
	return strings.Join(all, ",")
}
