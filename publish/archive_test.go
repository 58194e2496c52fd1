package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// eachArchive runs a test with the archives that eachStore has stores of.
func eachArchive(t *testing.T, test func(t *testing.T, a Archive)) {
	t.Run("directory", func(t *testing.T) { test(t, openArchive(t, "file://"+t.TempDir())) })
	t.Run("bucket", func(t *testing.T) { test(t, archiveInBucket(t, newFakeBucket(t).URL)) })
	t.Run("VersityGW", func(t *testing.T) { test(t, archiveInBucket(t, startGateway(t))) })
}

func openArchive(t *testing.T, uri string) Archive {
	t.Helper()
	a, err := OpenArchive(uri)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func archiveInBucket(t *testing.T, endpoint string) Archive {
	t.Helper()
	_ = inBucket(t, endpoint) // sets the variables
	return openArchive(t, "s3://keys/check/points")
}

func writes(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// A document is there whole or not at all, of whatever size, and none is replaced, however
// many write at once.
func TestADocumentIsNeverReplaced(t *testing.T) {
	eachArchive(t, func(t *testing.T, a Archive) {
		large := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB, more than any answer that is kept in memory
		var wins atomic.Int64
		var writers sync.WaitGroup
		for n := range 8 {
			writers.Go(func() {
				switch err := a.Create(t.Context(), "one", "text/plain", writes(fmt.Sprintf("%d %s", n, large))); {
				case err == nil:
					wins.Add(1)
				case !errors.Is(err, ErrExists):
					t.Logf("writer %d: %v", n, err) // VersityGW answers some races with errors
				}
			})
		}
		writers.Wait()
		if n := wins.Load(); n > 1 {
			t.Fatalf("%d writers wrote the document", n)
		}
		_ = a.Create(t.Context(), "one", "text/plain", writes("9 "+large)) // if all of them had errors
		if err := a.Create(t.Context(), "one", "text/plain", writes("another")); !errors.Is(err, ErrExists) {
			t.Errorf("a second document of the name: %v", err)
		}
		var found bytes.Buffer
		if err := ReadDocument(t.Context(), strings.TrimSuffix(a.Target(), "/")+"/one", &found); err != nil || found.Len() != 2+len(large) || !strings.HasSuffix(found.String(), large) {
			t.Errorf("read %d bytes: %v", found.Len(), err)
		}
		interrupted := errors.New("interrupted")
		err := a.Create(t.Context(), "two", "text/plain", func(w io.Writer) error {
			return errors.Join(writes("half")(w), interrupted)
		})
		if !errors.Is(err, interrupted) {
			t.Errorf("%v", err)
		}
		if err := a.Read(t.Context(), "two", io.Discard); err == nil {
			t.Error("half a document is there")
		}
	})
}

// A store that accepts connections and does not answer, or not to the end, holds up nobody
// for ever.
func TestASilentStoreIsLeft(t *testing.T) {
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	interrupted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "the beginning")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(interrupted.Close)
	for _, endpoint := range []string{"http://" + silent.Addr().String(), interrupted.URL} {
		a := archiveInBucket(t, endpoint).(bucketArchive)
		a.timeout = 100 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := a.Read(ctx, "one", io.Discard); !errors.Is(err, errSilent) || !strings.Contains(err.Error(), "one") {
			t.Errorf("%v", err)
		}
		cancel()
	}
	if a := openArchive(t, "s3://keys").(bucketArchive); a.timeout != requestTimeout {
		t.Errorf("a store may be silent for %s", a.timeout)
	}
}

// A check leaves no document, needs no right to delete, and can be repeated.
func TestCheckOfAnArchive(t *testing.T) {
	eachArchive(t, func(t *testing.T, a Archive) {
		for range 2 {
			if err := a.Check(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	dir := t.TempDir()
	if err := openArchive(t, "file://"+dir).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	onlyConditional, lenient := newFakeBucket(t), newFakeBucket(t)
	onlyConditional.hinders(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "*" {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	lenient.hinders(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-None-Match")
		return false
	})
	a := archiveInBucket(t, onlyConditional.URL)
	if err := errors.Join(a.Check(t.Context()), a.Create(t.Context(), "one", "text/plain", writes("one"))); err != nil {
		t.Errorf("a credential for new documents alone: %v", err)
	}
	if o := onlyConditional.objects["/keys/check/points/one"]; o.body != "one" || o.contentType != "text/plain" {
		t.Errorf("%+v", o)
	}
	if err := archiveInBucket(t, lenient.URL).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "If-None-Match") {
		t.Errorf("a store that ignores conditions: %v", err)
	}
	gone := openArchive(t, "file://"+dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for _, a := range []Archive{gone, openArchive(t, "s3://missing")} {
		if err := a.Check(t.Context()); err == nil {
			t.Errorf("%s can be used", a.Target())
		}
	}
}

// Of a directory the newest documents of a pattern are kept, or those from a name on, and
// all of other patterns.
func TestKeepNewest(t *testing.T) {
	dir := t.TempDir()
	a := openArchive(t, "file://"+dir)
	for _, name := range []string{"a-1.x", "k-3.x", "k-1.x", "k-2.x", "k-1.y"} {
		if err := a.Create(t.Context(), name, "", writes(name)); err != nil {
			t.Fatal(err)
		}
	}
	if oldest, err := a.KeepNewest("k-*.x", 2); err != nil || oldest != "k-2.x" {
		t.Errorf("%s is the oldest: %v", oldest, err)
	}
	if oldest, err := a.KeepNewest("n-*.x", 2); err != nil || oldest != "" {
		t.Errorf("%s is the oldest of none: %v", oldest, err)
	}
	want := func(names string) {
		t.Helper()
		left, _ := filepath.Glob(filepath.Join(dir, "*"))
		if got := strings.Join(left, " "); got != strings.ReplaceAll(names, "D", dir) {
			t.Errorf("left: %s", got)
		}
	}
	want("D/a-1.x D/k-1.y D/k-2.x D/k-3.x")
	if err := a.DeleteBefore("k-*", "k-3"); err != nil {
		t.Error(err)
	}
	want("D/a-1.x D/k-3.x")
}
