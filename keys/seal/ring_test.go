package seal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyward/keyward/keys/seal"
)

func TestInitThenOpen(t *testing.T) {
	uri := uriIn(t)
	made, err := seal.Init(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := seal.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(made.Versions(), opened.Versions()) || len(opened.Versions()) != 1 || opened.URI() != uri {
		t.Errorf("made %v, opened %v at %s", made.Versions(), opened.Versions(), opened.URI())
	}
	check, _ := newest(t, made).KeyCheck(t.Context(), tenantA)
	if err := newest(t, opened).VerifyKeyCheck(t.Context(), tenantA, check); err != nil {
		t.Error(err)
	}
	path := strings.TrimPrefix(uri, "file:")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if _, err := os.Lstat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Init left its temporary file: %v", err)
	}
}

func TestInitNeverOverwrites(t *testing.T) {
	uri := uriIn(t)
	path := strings.TrimPrefix(uri, "file:")
	for what, put := range map[string]func() error{
		"a file":                 func() error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"an empty file":          func() error { return os.WriteFile(path, nil, 0o600) },
		"a directory":            func() error { return os.Mkdir(path, 0o700) },
		"a symlink into nothing": func() error { return os.Symlink("nowhere", path) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(path)
		_, err := seal.Init(t.Context(), uri)
		wantErr(t, what, err, seal.ErrExists)
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("%s: Init wrote over it", what)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConcurrentInitsOneWins(t *testing.T) {
	const n = 20
	uri := uriIn(t)
	rings, errs := make([]*seal.Ring, n), make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			rings[i], errs[i] = seal.Init(context.Background(), uri)
		})
	}
	close(start)
	all.Wait()
	opened, err := seal.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			if rings[i].Newest() != opened.Newest() {
				t.Error("the winner holds a key that is not in the file")
			}
			continue
		}
		wantErr(t, "a loser", err, seal.ErrExists)
	}
	if won != 1 {
		t.Errorf("%d Inits won", won)
	}
}

func TestConcurrentAddVersionLosesNothing(t *testing.T) {
	const rings, each = 8, 4
	first := newRing(t)
	want := make(chan string, rings*each)
	var all sync.WaitGroup
	for range rings {
		r, err := seal.Open(t.Context(), first.URI())
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for range each {
				v, err := r.AddVersion(context.Background())
				if err != nil {
					t.Error(err)
				}
				if !slices.Contains(r.Versions(), v) {
					t.Errorf("version %s is not in the Ring that added it", v)
				}
				want <- v
			}
		})
	}
	all.Wait()
	close(want)
	// first was opened before any of them was added.
	for v := range want {
		if k, err := first.Key(t.Context(), v); err != nil || k.Version() != v {
			t.Errorf("version %s: %v", v, err)
		}
	}
	if got := len(first.Versions()); got != 1+rings*each {
		t.Errorf("%d versions, want %d", got, 1+rings*each)
	}
}

func TestOldVersionsStay(t *testing.T) {
	r := newRing(t)
	old := newest(t, r)
	check, _ := old.KeyCheck(t.Context(), tenantA)
	v := addVersion(t, r)
	if got := r.Versions(); r.Newest() != v || !slices.Equal(got, []string{old.Version(), v}) {
		t.Errorf("versions %v, newest %s", got, r.Newest())
	}
	again, err := r.Key(t.Context(), old.Version())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.VerifyKeyCheck(t.Context(), tenantA, check); err != nil {
		t.Error(err)
	}
}

func TestUnknownVersion(t *testing.T) {
	r := newRing(t)
	_, err := r.Key(t.Context(), "4711")
	wantErr(t, "Key", err, seal.ErrUnknownVersion)
	if !strings.Contains(err.Error(), r.URI()) || !strings.Contains(err.Error(), `"4711"`) {
		t.Errorf("%v: want URI and version named", err)
	}
	wantErr(t, "RemoveVersion", r.RemoveVersion(t.Context(), "4711"), seal.ErrUnknownVersion)
}

func TestRemoveVersion(t *testing.T) {
	r := newRing(t)
	old := r.Newest()
	wantErr(t, "the only one", r.RemoveVersion(t.Context(), old), seal.ErrNewestVersion)
	v := addVersion(t, r)
	wantErr(t, "the newest", r.RemoveVersion(t.Context(), v), seal.ErrNewestVersion)
	if err := r.RemoveVersion(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if got := r.Versions(); !slices.Equal(got, []string{v}) {
		t.Errorf("versions %v, want only %s", got, v)
	}
	_, err := r.Key(t.Context(), old)
	wantErr(t, "a removed version", err, seal.ErrUnknownVersion)
}

func TestFailedReloadKeepsWhatWasRead(t *testing.T) {
	r := newRing(t)
	path := strings.TrimPrefix(r.URI(), "file:")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Reload", r.Reload(t.Context()), seal.ErrNoMasterKey)
	_, err := r.Key(t.Context(), "4711")
	wantErr(t, "a new version", err, seal.ErrNoMasterKey)
	_, err = r.AddVersion(t.Context())
	wantErr(t, "AddVersion", err, seal.ErrNoMasterKey)
	newest(t, r) // still there
}

func TestRelativeURI(t *testing.T) {
	t.Chdir(t.TempDir())
	r, err := seal.Init(t.Context(), "file:./master key.json")
	if err != nil {
		t.Fatal(err)
	}
	if r.URI() != "file:master%20key.json" {
		t.Errorf("URI %s", r.URI())
	}
	dir, _ := os.Getwd()
	for _, uri := range []string{
		r.URI(), "file://" + filepath.Join(dir, "master%20key.json"),
		"FILE://localhost" + dir + "/./master%20key.json",
	} {
		same, err := seal.Open(t.Context(), uri)
		if err != nil || same.Newest() != r.Newest() {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
