package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// place is a store as a test sees it.
type place struct {
	Store
	read func(path string) (string, bool) // false: there is no such object
}

// eachStore runs a test with a directory, a bucket of this test's own, and one of a real
// server if VersityGW is on the PATH or at KEYWARD_TEST_VERSITYGW:
// go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
func eachStore(t *testing.T, test func(t *testing.T, p place)) {
	t.Run("directory", func(t *testing.T) { test(t, inDirectory(t, t.TempDir())) })
	t.Run("bucket", func(t *testing.T) { test(t, inBucket(t, newFakeBucket(t).URL)) })
	t.Run("VersityGW", func(t *testing.T) { test(t, inBucket(t, startGateway(t))) })
}

func inDirectory(t *testing.T, dir string) place {
	t.Helper()
	s, err := Open("file://" + dir)
	if err != nil {
		t.Fatal(err)
	}
	return place{s, func(path string) (string, bool) {
		body, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return string(body), err == nil
	}}
}

func inBucket(t *testing.T, endpoint string) place {
	t.Helper()
	t.Setenv("AWS_ENDPOINT_URL_S3", endpoint)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s, err := Open("s3://keys/below/here")
	if err != nil {
		t.Fatal(err)
	}
	b := s.(*bucket)
	return place{s, func(path string) (string, bool) {
		_, body, err := b.request(context.WithoutCancel(t.Context()), http.MethodGet, path, nil, nil)
		if failed := (*StoreError)(nil); errors.As(err, &failed) && failed.Status == http.StatusNotFound {
			return "", false
		}
		if err != nil {
			t.Error(err)
		}
		return string(body), true
	}}
}

// startGateway starts a server of the S3 API with a bucket "keys", and returns its URL.
func startGateway(t *testing.T) string {
	t.Helper()
	program := os.Getenv("KEYWARD_TEST_VERSITYGW")
	if program == "" {
		var err error
		if program, err = exec.LookPath("versitygw"); err != nil {
			t.Skip("there is no versitygw on the PATH")
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, "--port", addr, "--quiet", "posix", dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=test", "ROOT_SECRET_KEY=testsecret")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "the gateway answers", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return "http://" + addr
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// fakeBucket is a server with the part of the S3 API that this package uses.
type fakeBucket struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]fakeObject
	etags   int
	hinder  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

type fakeObject struct {
	body, etag, order, contentType, caching string
}

func newFakeBucket(t *testing.T) *fakeBucket {
	f := &fakeBucket{objects: map[string]fakeObject{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// hinders sets what comes before each answer.
func (f *fakeBucket) hinders(hinder func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hinder = hinder
}

func (f *fakeBucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	hinder := f.hinder
	f.mu.Unlock()
	if hinder != nil && hinder(w, r) {
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=test/") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o, found := f.objects[r.URL.Path]
	if match := r.Header.Get("If-Match"); match != "" && !found {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
		return
	} else if match != "" && match != o.etag || r.Header.Get("If-None-Match") == "*" && found {
		w.WriteHeader(http.StatusPreconditionFailed)
		fmt.Fprint(w, "<Error><Code>PreconditionFailed</Code></Error>")
		return
	}
	switch {
	case r.Method == http.MethodPut:
		f.etags++
		f.objects[r.URL.Path] = fakeObject{string(body), `"` + strconv.Itoa(f.etags) + `"`, r.Header.Get(orderField), r.Header.Get("Content-Type"), r.Header.Get("Cache-Control")}
	case r.Method == http.MethodDelete:
		delete(f.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("ETag", o.etag)
		w.Header().Set(orderField, o.order)
		fmt.Fprint(w, o.body)
	}
}

var (
	firstTenant = uuid.Must(uuid.Parse("01990000-0000-7000-8000-000000000001"))
	laterTenant = uuid.Must(uuid.Parse("01990000-0000-7000-8000-000000000002"))
)

const (
	setPath = "t/acme/.well-known/jwks.json"
	jwtPath = "t/acme/.well-known/jwks.jwt"
)

// documents are those of a state, which their bodies name.
func documents(at Order) []Object {
	return []Object{
		{Path: setPath, ContentType: "application/json", CacheControl: "max-age=300", Body: []byte("set " + at.String())},
		{Path: jwtPath, ContentType: "application/jwk-set+jwt", Body: []byte("jwt " + at.String())},
	}
}

func gone() []Object { return []Object{{Path: setPath}, {Path: jwtPath}} }

// holds checks that the store has the documents of a state.
func (p place) holds(t *testing.T, at Order) {
	t.Helper()
	for _, o := range documents(at) {
		if body, _ := p.read(o.Path); body != string(o.Body) {
			t.Errorf("%s is %q, want %q", o.Path, body, o.Body)
		}
	}
}

func (p place) isEmpty(t *testing.T) {
	t.Helper()
	for _, o := range gone() {
		if body, found := p.read(o.Path); found {
			t.Errorf("%s is there: %q", o.Path, body)
		}
	}
}

// An older state, in every sense of older, does not replace a newer one, nor bring back
// one that is removed.
func TestAnOlderStateIsRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		put := func(at Order, objects []Object, want error) {
			t.Helper()
			if err := p.Put(t.Context(), "acme", at, objects); !errors.Is(err, want) {
				t.Errorf("put %s: %v, want %v", at, err, want)
			}
		}
		seven := Order{0, firstTenant, 7}
		put(seven, documents(seven), nil)
		put(seven, documents(seven), nil) // again
		p.holds(t, seven)
		put(Order{0, firstTenant, 6}, documents(Order{0, firstTenant, 6}), ErrSuperseded)
		p.holds(t, seven)
		nine := Order{0, firstTenant, 9}
		put(nine, gone(), nil) // deleted
		p.isEmpty(t)
		put(Order{0, firstTenant, 8}, documents(Order{0, firstTenant, 8}), ErrSuperseded)
		p.isEmpty(t)
		other := Order{0, laterTenant, 1} // has taken over the slug
		put(other, documents(other), nil)
		put(nine, gone(), ErrSuperseded)
		p.holds(t, other)
		recovered := Order{1, firstTenant, 3} // the database is back at a time before
		put(recovered, documents(recovered), nil)
		put(Order{0, laterTenant, 99}, gone(), ErrSuperseded)
		p.holds(t, recovered)
		one := documents(Order{1, firstTenant, 4})
		one[1].Body = nil // no key can sign
		put(Order{1, firstTenant, 4}, one, nil)
		if _, found := p.read(jwtPath); found {
			t.Error("a signed set of a state without one is there")
		}
	})
}

// Writers that know different states end with the newest in the store, in every document.
func TestConcurrentWritersEndWithTheNewest(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		const newest = 12
		deadline := time.Now().Add(time.Minute)
		order := rand.Perm(newest)
		var writers sync.WaitGroup
		for _, n := range order {
			writers.Go(func() {
				at := Order{0, firstTenant, int64(n + 1)}
				for {
					err := p.Put(t.Context(), "acme", at, documents(at))
					if err == nil || errors.Is(err, ErrSuperseded) {
						return
					}
					if t.Context().Err() != nil || time.Now().After(deadline) {
						t.Error(err)
						return
					} // VersityGW answers some races with errors; a publisher tries again without end, too
				}
			})
		}
		writers.Wait()
		p.holds(t, Order{0, firstTenant, newest})
	})
}

func TestCheck(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		if err := p.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
	lenient := newFakeBucket(t)
	lenient.hinders(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-None-Match")
		return false
	})
	if err := inBucket(t, lenient.URL).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "If-None-Match") {
		t.Errorf("a store that ignores conditions: %v", err)
	}
	dir := t.TempDir()
	gone := inDirectory(t, dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := gone.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A store that answers with malice makes a state fail: it neither leads this process
// elsewhere, nor fills its memory, nor writes to the operator's terminal.
func TestAHostileBucket(t *testing.T) {
	var led atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		led.Add(1)
		w.Header().Set("ETag", `"inside"`)
	}))
	t.Cleanup(inside.Close)
	endless := func(write func([]byte) error) {
		piece := []byte(strings.Repeat("a", 32<<10))
		for range 4096 { // 128 MiB
			if write(piece) != nil {
				return
			}
		}
		t.Error("128 MiB were read")
	}
	at := Order{0, firstTenant, 7}
	for name, hinder := range map[string]func(http.ResponseWriter, *http.Request){
		"redirects, 307": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL+"/x", http.StatusTemporaryRedirect)
		},
		"redirects, 308": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL+"/x", http.StatusPermanentRedirect)
		},
		"redirects, 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL+"/x", http.StatusFound) },
		"an order that is none": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Etag"], w.Header()[orderField] = []string{`"1"`}, []string{"99999999999999999999 x"}
		},
		"no entity tag": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"a tag that never matches": func(w http.ResponseWriter, r *http.Request) {
			if w.Header().Set("ETag", `"wrong"`); r.Method == http.MethodPut {
				w.WriteHeader(http.StatusPreconditionFailed)
			}
		},
		"a code for a terminal": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<Error><Code>Denied\u009b2J\n&#x202e;</Code></Error>")
		},
		"an endless body": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
			endless(func(piece []byte) error {
				_, err := w.Write(piece)
				return err
			})
		},
		"an endless header": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n")
			endless(func(piece []byte) error {
				_, err := fmt.Fprintf(conn, "X-%s: a\r\n", piece)
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeBucket(t)
			fake.hinders(func(w http.ResponseWriter, r *http.Request) bool {
				hinder(w, r)
				return true
			})
			err := inBucket(t, fake.URL).Put(t.Context(), "acme", at, documents(at))
			if err == nil || errors.Is(err, ErrSuperseded) || len(err.Error()) > 500 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q", err)
			}
		})
	}
	if n := led.Load(); n > 0 {
		t.Errorf("%d requests were led elsewhere", n)
	}
}

// What an object is stored with.
func TestObjectsCarryTheirFields(t *testing.T) {
	fake := newFakeBucket(t)
	p := inBucket(t, fake.URL)
	at := Order{2, firstTenant, 7}
	if err := p.Put(t.Context(), "acme", at, documents(at)); err != nil {
		t.Fatal(err)
	}
	o := fake.objects["/keys/below/here/"+setPath]
	if o.contentType != "application/json" || o.caching != "max-age=300" || o.order != at.String() {
		t.Errorf("%+v", o)
	}
}

// A late writer that found nothing before a tenant was created and deleted by another one
// does not bring it back.
func TestALateCreatorDoesNotBringBackADeletedTenant(t *testing.T) {
	fake := newFakeBucket(t)
	p := inBucket(t, fake.URL)
	eight := Order{0, firstTenant, 8}
	var other atomic.Bool
	fake.hinders(func(_ http.ResponseWriter, r *http.Request) bool {
		// Between the look of the late writer and its write.
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, setPath) && other.CompareAndSwap(false, true) {
			ctx := context.WithoutCancel(r.Context())
			if err := p.Put(ctx, "acme", eight, documents(eight)); err != nil {
				t.Error(err)
			}
			if err := p.Put(ctx, "acme", Order{0, firstTenant, 9}, gone()); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	seven := Order{0, firstTenant, 7}
	if err := p.Put(t.Context(), "acme", seven, documents(seven)); !errors.Is(err, ErrSuperseded) {
		t.Errorf("%v", err)
	}
	p.isEmpty(t)
}

const umaskDir = "KEYWARD_TEST_PUBLISH_UMASK"

// Documents and their directories are for everybody, whatever the umask, and nothing else
// is; no temporary file and no empty directory is left.
func TestFilesOfADirectory(t *testing.T) {
	at := Order{0, firstTenant, 1}
	if dir := os.Getenv(umaskDir); dir != "" {
		if err := inDirectory(t, dir).Put(t.Context(), "acme", at, documents(at)); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	p := inDirectory(t, dir)
	cmd := exec.Command("sh", "-c", `umask 077; exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$") // as the units have it
	cmd.Env = append(os.Environ(), umaskDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	public := fs.ModeDir | 0o755
	for name, mode := range map[string]fs.FileMode{
		"t": public, "t/acme": public, "t/acme/.well-known": public, setPath: 0o644, jwtPath: 0o644, ".keyward": fs.ModeDir | 0o700, ".keyward/acme": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%s: %v, want %v", name, info.Mode(), mode)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "t/acme/.well-known/.*.new")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := p.Put(t.Context(), "acme", Order{0, firstTenant, 2}, gone()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "t")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of a deleted tenant: %v", err)
	}
}

// A symbolic link that leads out of the directory is not followed.
func TestADirectoryIsNotLeft(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "t")); err != nil {
		t.Fatal(err)
	}
	at := Order{0, firstTenant, 1}
	if err := inDirectory(t, dir).Put(t.Context(), "acme", at, documents(at)); err == nil {
		t.Error("published through a link")
	}
	if found, _ := os.ReadDir(outside); len(found) > 0 {
		t.Errorf("outside: %v", found)
	}
}

const victimDir = "KEYWARD_TEST_PUBLISH_VICTIM"

// A writer that is killed at any moment leaves whole documents, never newer than the mark,
// and the next one goes on.
func TestAKilledWriterLeavesWholeDocuments(t *testing.T) {
	if dir := os.Getenv(victimDir); dir != "" {
		p := inDirectory(t, dir)
		for n := int64(1); ; n++ {
			at := Order{0, firstTenant, n}
			if err := p.Put(t.Context(), "acme", at, documents(at)); err != nil && !errors.Is(err, ErrSuperseded) {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	p := inDirectory(t, dir)
	for range 8 {
		before, _ := p.read(setPath)
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), victimDir+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it writes", func() bool { now, _ := p.read(setPath); return now != before })
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		text, _ := p.read(".keyward/acme")
		mark, err := parseOrder(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range documents(mark) {
			body, found := p.read(o.Path)
			if !found {
				continue
			}
			kind, state, _ := strings.Cut(body, " ")
			if at, err := parseOrder(state); err != nil || at.Compare(mark) > 0 || kind != string(o.Body[:3]) {
				t.Errorf("%s is %q, the mark is %s", o.Path, body, mark)
			}
		}
		if err := p.Put(t.Context(), "acme", mark, documents(mark)); err != nil {
			t.Errorf("the same state again: %v", err)
		}
		p.holds(t, mark)
	}
}

func TestOpen(t *testing.T) {
	dir, file := filepath.Join(t.TempDir(), "of keys"), filepath.Join(t.TempDir(), "file")
	if err := errors.Join(mkdir(dir), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for uri, target := range map[string]string{
		"file://" + dir + "/": "file://" + dir, "file://" + strings.ReplaceAll(dir, " ", "%20"): "file://" + dir, "file://" + dir + "/gone": "", "file://" + file: "", "s3://keys": "s3://keys/", "s3://keys/a/b/": "s3://keys/a/b/",
		"": "", "/srv/keys": "", "file://host/srv": "", "file:srv": "", "s3:///a": "", "s3://user:secret@keys/a": "", "https://keys": "", "s3://keys?x=1": "",
	} {
		s, err := Open(uri)
		if target == "" {
			if !errors.Is(err, ErrBadURI) {
				t.Errorf("%q: %v", uri, err)
			}
		} else if err != nil || s.Target() != target {
			t.Errorf("%q: %v %v", uri, s, err)
		}
		if _, archiveErr := OpenArchive(uri); !errors.Is(archiveErr, err) {
			t.Errorf("%q: %v, but as an archive %v", uri, err, archiveErr)
		}
	}
}

func mkdir(dir string) error { return os.Mkdir(dir, 0o755) }
