package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/publish"
)

// troubledArchive is an archive with writes that fail.
type troubledArchive struct {
	publish.Archive
	trouble func(name string) (failed, stored bool)
}

func (a *troubledArchive) Create(ctx context.Context, name, contentType string, write func(io.Writer) error) error {
	failed, stored := a.trouble(name)
	if !failed {
		return a.Archive.Create(ctx, name, contentType, write)
	}
	err := write(io.Discard)
	if err == nil && stored {
		err = a.Archive.Create(ctx, name, contentType, write)
	}
	return errors.Join(err, errors.New("the store has gone\x00\xff"))
}

// checkpointsInto returns what writes checkpoints, one an hour, into a directory with
// trouble, and what sets its clock forward.
func checkpointsInto(t *testing.T, trouble func(name string) (failed, stored bool)) (w *checkpointWriter, dir string, later func(time.Duration)) {
	t.Helper()
	env := deployed(t)
	dir = t.TempDir()
	archive, err := publish.OpenArchive("file://" + dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{log: slog.New(slog.DiscardHandler), cfg: config{
		databaseURL: env["KEYWARD_DATABASE_URL"], listenURL: env["KEYWARD_DATABASE_URL"], masterKey: env["KEYWARD_MASTER_KEY"],
		checkpoints: &troubledArchive{archive, trouble}, checkpointInterval: time.Hour,
	}}
	a, err := p.openApp(t.Context(), "https://keys.example.com")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	now := utcNow()
	return &checkpointWriter{app: a, now: func() time.Time { return now }}, dir, func(d time.Duration) { now = now.Add(d) }
}

// stems returns the names of the files with a suffix, without it.
func stems(t *testing.T, dir, suffix string) (found []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		found = append(found, strings.TrimSuffix(f, suffix))
	}
	return found
}

// Sets without checkpoints, which processes left that ended meanwhile, go with the
// checkpoints of their time, and never make a kept checkpoint lose its own.
func TestKeptCheckpointsKeepTheirSets(t *testing.T) {
	w, dir, later := checkpointsInto(t, func(string) (failed, stored bool) { return false, false })
	at := w.now().Add(-30 * 24 * time.Hour)
	touch := func(at time.Time, suffix string) {
		if err := os.WriteFile(filepath.Join(dir, "keyward-"+at.Format(checkpointTimeForm)+suffix), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range keptCheckpoints + 10 {
		touch(at, checkpointKeys)
		touch(at, checkpointSuffix)
		touch(at.Add(time.Minute), checkpointKeys)
		touch(at.Add(2*time.Minute), checkpointKeys)
		at = at.Add(time.Hour)
	}
	check := func(orphans int) {
		t.Helper()
		if err := w.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		later(time.Hour)
		checkpoints, sets := stems(t, dir, checkpointSuffix), stems(t, dir, checkpointKeys)
		if len(checkpoints) != keptCheckpoints || len(sets) != keptCheckpoints+orphans {
			t.Errorf("%d checkpoints, %d sets", len(checkpoints), len(sets))
		}
		for _, name := range checkpoints {
			if !slices.Contains(sets, name) {
				t.Errorf("%s has lost its set", name)
			}
		}
	}
	check(2 * (keptCheckpoints - 1))
	check(2 * (keptCheckpoints - 2))
}

// A checkpoint that cannot be recorded is one: old ones are deleted, and the chore does not
// write another at once.
func TestACheckpointThatIsNotRecorded(t *testing.T) {
	w, dir, later := checkpointsInto(t, func(string) (failed, stored bool) { return false, false })
	var logged bytes.Buffer
	w.log = slog.New(slog.NewTextHandler(&logged, nil))
	dbtest.Exec(t, w.cfg.databaseURL, "REVOKE INSERT, UPDATE ON checkpoint_places FROM keyward_platform")
	for range keptCheckpoints + 1 {
		name := filepath.Join(dir, "keyward-"+w.now().Format(checkpointTimeForm))
		for _, suffix := range []string{checkpointKeys, checkpointSuffix} {
			if err := os.WriteFile(name+suffix, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		later(time.Hour)
	}
	if err := w.write(t.Context()); err != nil {
		t.Errorf("the chore fails: %v", err)
	}
	if checkpoints, sets := stems(t, dir, checkpointSuffix), stems(t, dir, checkpointKeys); len(checkpoints) != keptCheckpoints || !slices.Equal(checkpoints, sets) {
		t.Errorf("%d checkpoints, %d sets", len(checkpoints), len(sets))
	}
	if !strings.Contains(logged.String(), "checkpoint written, but not recorded") || w.checkpointFailures.Load() != 0 {
		t.Errorf("%d failures, logged: %s", w.checkpointFailures.Load(), logged.String())
	}
}

// However often a checkpoint or its set cannot be written, for minutes or beyond intervals,
// and if an answer is lost though it was, there is no set without its checkpoint afterwards,
// and each verifies.
func TestAFailedCheckpointLeavesNoSet(t *testing.T) {
	for name, c := range map[string]struct {
		suffix string
		stored bool
		pause  time.Duration
	}{
		"checkpoint refused": {checkpointSuffix, false, time.Minute}, "checkpoint's answer lost": {checkpointSuffix, true, time.Minute},
		"set refused": {checkpointKeys, false, time.Minute}, "set's answer lost": {checkpointKeys, true, time.Minute},
		"checkpoint refused for hours": {checkpointSuffix, false, 2 * time.Hour}, "set refused for hours": {checkpointKeys, false, 2 * time.Hour},
		"set's answer lost for hours": {checkpointKeys, true, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			failures, begins := 0, false
			w, dir, later := checkpointsInto(t, func(name string) (failed, stored bool) {
				failed = begins && strings.HasSuffix(name, c.suffix) && failures < 3
				if failed {
					failures++
				}
				return failed, c.stored
			})
			if err := w.write(t.Context()); err != nil { // one to be kept, before which nothing is
				t.Fatal(err)
			}
			begins = true
			later(time.Hour)
			for w.write(t.Context()) != nil {
				if failures > 3 {
					t.Fatal("it fails for ever")
				}
				later(c.pause)
			}
			checkpoints, sets := stems(t, dir, checkpointSuffix), stems(t, dir, checkpointKeys)
			if len(checkpoints) < 2 || !slices.Equal(checkpoints, sets) {
				t.Fatalf("checkpoints %v, sets %v", checkpoints, sets)
			}
			for _, at := range checkpoints {
				if _, err := openCheckpoint(localFile{path: at + checkpointSuffix}, []byte(read(t, at+checkpointKeys))); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A name is not used again if the keys are not those of its set any more, or if it would
// tell a wrong time and no set has it, or a later checkpoint was written meanwhile.
func TestAFailedCheckpointIsBegunAnew(t *testing.T) {
	for name, change := range map[string]func(w *checkpointWriter, later func(time.Duration)){
		"other keys": func(w *checkpointWriter, later func(time.Duration)) {
			w.unfinished.set = []byte(`{"keys":[]}`)
			later(time.Minute)
		},
		"long ago, without a set": func(w *checkpointWriter, later func(time.Duration)) {
			w.unfinished.set, w.unfinished.written = nil, false
			later(time.Hour)
		},
		"long ago, with a later checkpoint": func(w *checkpointWriter, later func(time.Duration)) {
			later(time.Hour)
			if err := w.recordCheckpoint(t.Context(), w.now()); err != nil { // by another process
				t.Fatal(err)
			}
			later(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed := false
			w, dir, later := checkpointsInto(t, func(name string) (fails, stored bool) {
				fails = strings.HasSuffix(name, checkpointSuffix) && !failed
				failed = failed || fails
				return fails, false
			})
			if err := w.write(t.Context()); err == nil {
				t.Fatal("the first attempt has not failed")
			}
			change(w, later)
			if err := w.write(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := filepath.Join(dir, "keyward-"+w.now().Format(checkpointTimeForm))
			if got := stems(t, dir, checkpointSuffix); !slices.Equal(got, []string{want}) || !slices.Contains(stems(t, dir, checkpointKeys), want) {
				t.Errorf("%v, and sets %v", got, stems(t, dir, checkpointKeys))
			}
		})
	}
}

// Metrics and doctor say how old the last checkpoint is, whichever process wrote it, and
// doctor why there is none; beyond three intervals it fails.
func TestAgeOfTheLastCheckpoint(t *testing.T) {
	away := false
	w, dir, later := checkpointsInto(t, func(string) (failed, stored bool) { return away, false })
	env := environ{"KEYWARD_DATABASE_URL": w.cfg.databaseURL, "KEYWARD_MASTER_KEY": w.cfg.masterKey, "KEYWARD_CHECKPOINTS": "file://" + dir}
	check := func(age time.Duration, failures float64, findings ...string) {
		t.Helper()
		r := prometheus.NewRegistry()
		w.registerCheckpoints(r)
		if got := gauge(t, r, "keyward_checkpoint_age_seconds"); got < age.Seconds() || got > (age+time.Hour).Seconds() {
			t.Errorf("the metric says %v s, want %v", got, age)
		}
		if got := gauge(t, r, "keyward_checkpoint_failures_total"); got != failures {
			t.Errorf("the metric says %v failures, want %v", got, failures)
		}
		code := exitOK
		if strings.HasPrefix(findings[0], "FAIL") {
			code = exitFailed
		}
		keyward(t, env, "doctor").want(t, code, findings...)
	}
	check(0, 0, "WARN  checkpoints     no worker has written one yet", "keyward worker")
	later(-4 * time.Hour)
	away = true
	if w.write(t.Context()) == nil {
		t.Fatal("a checkpoint was written")
	}
	check(4*time.Hour, 1, "FAIL  checkpoints     none was ever written, since the first attempt at", "more than 3 intervals of 1h0m0s", "1 attempt failed: the store has gone", "keyward worker")
	away = false
	later(2 * time.Hour)
	if err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(2*time.Hour, 1, "OK    checkpoints     the last was written at")
	away = true
	later(time.Hour)
	for range 2 {
		if w.write(t.Context()) == nil {
			t.Fatal("a checkpoint was written")
		}
	}
	check(2*time.Hour, 3, "WARN  checkpoints     the last was written at", "2 attempts failed")
	env["KEYWARD_CHECKPOINT_INTERVAL"] = "30m"
	check(2*time.Hour, 3, "FAIL  checkpoints     the last was written at", "more than 3 intervals of 30m0s")
}

// gauge returns the value of a metric without labels, a counter's too.
func gauge(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
