//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package seal_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/mac"

	"github.com/keyward/keyward/keys/seal"
)

func TestFilesThatAreNoMasterKey(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	good := tinkKeyset(t, aead.AES256GCMKeyTemplate())
	for what, content := range map[string]string{
		"empty":             "",
		"blank":             " \n",
		"not JSON":          secret,
		"other JSON":        `{"` + secret + `":"` + secret + `"}`,
		"unknown field":     strings.Replace(good, `{`, `{"x":"`+secret+`",`, 1),
		"no keys":           `{"primaryKeyId":1,"key":[]}`,
		"no primary":        strings.Replace(good, `"primaryKeyId":`, `"primaryKeyId":1`, 1),
		"disabled primary":  strings.ReplaceAll(good, "ENABLED", "DISABLED"),
		"cut off":           good[:len(good)/2],
		"a MAC key":         tinkKeyset(t, mac.HMACSHA256Tag256KeyTemplate()),
		"AES-128":           tinkKeyset(t, aead.AES128GCMKeyTemplate()),
		"ChaCha20-Poly1305": tinkKeyset(t, aead.ChaCha20Poly1305KeyTemplate()),
		"without prefix":    tinkKeyset(t, aead.AES256GCMNoPrefixKeyTemplate()),
		"encrypted":         `{"encryptedKeyset":"` + secret + `"}`,
		"too large":         strings.Repeat(" ", 1<<20) + good,
	} {
		uri := uriIn(t)
		if err := os.WriteFile(strings.TrimPrefix(uri, "file:"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := seal.Open(t.Context(), uri)
		wantErr(t, what, err, seal.ErrNotMasterKey)
		if err != nil && (strings.Contains(err.Error(), secret[:8]) || !strings.Contains(err.Error(), uri)) {
			t.Errorf("%s: %v: names no URI, or quotes the file", what, err)
		}
	}
}

func TestTinksOwnKeysetIsAMasterKey(t *testing.T) {
	uri := uriIn(t)
	if err := os.WriteFile(strings.TrimPrefix(uri, "file:"), []byte(tinkKeyset(t, aead.AES256GCMKeyTemplate())), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := seal.Open(t.Context(), uri)
	if err != nil || len(r.Versions()) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
}

func TestMissingFile(t *testing.T) {
	uri := uriIn(t)
	_, err := seal.Open(t.Context(), uri)
	wantErr(t, "Open", err, seal.ErrNoMasterKey)
	if !strings.Contains(err.Error(), uri) || !strings.Contains(err.Error(), "keyward master init") {
		t.Error(err)
	}
	_, err = seal.Init(t.Context(), "file:"+filepath.Join(t.TempDir(), "no", "such", "key"))
	wantErr(t, "Init in a missing directory", err, os.ErrNotExist)
}

func TestThingsThatAreNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	for _, path := range []string{dir, pipe} { // the pipe must not make it wait
		_, err := seal.Open(t.Context(), "file:"+path)
		wantErr(t, path, err, seal.ErrNotMasterKey)
	}
}

func TestOthersMayNotTouchTheFile(t *testing.T) {
	r := newRing(t)
	path := strings.TrimPrefix(r.URI(), "file:")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o666, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := seal.Open(t.Context(), r.URI())
		wantErr(t, mode.String(), err, seal.ErrPermissions)
		if !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%v: want to be told what to do", err)
		}
		_, err = r.AddVersion(t.Context())
		wantErr(t, "AddVersion", err, seal.ErrPermissions)
	}
}

// A group may read root's file, as PostgreSQL allows it for its private key, and no
// other file; nobody else may do anything.
func TestGroupMayReadTheFileOfRoot(t *testing.T) {
	for _, c := range []struct {
		mode           os.FileMode
		ofRoot, isRoot bool
		accepted       bool
	}{
		{0o600, false, false, true},
		{0o400, true, true, true},
		{0o640, true, false, true},
		{0o440, true, false, true},
		{0o640, false, false, false},
		{0o640, true, true, false},
		{0o660, true, false, false},
		{0o444, true, false, false},
		{0o650, true, false, false},
	} {
		if got := seal.ExcessOf(c.mode, c.ofRoot, c.isRoot) == 0; got != c.accepted {
			t.Errorf("mode %o of root %t, read by root %t: accepted %t", c.mode, c.ofRoot, c.isRoot, got)
		}
	}
}

func TestAddVersionKeepsOwnerAndMode(t *testing.T) {
	r := newRing(t)
	path := strings.TrimPrefix(r.URI(), "file:")
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 4711, 4712
	}
	if err := errors.Join(os.Chown(path, uid, gid), os.Chmod(path, 0o400)); err != nil {
		t.Fatal(err)
	}
	addVersion(t, r)
	for p, mode := range map[string]os.FileMode{path: 0o400, path + ".lock": 0o600} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		is := info.Sys().(*syscall.Stat_t)
		if int(is.Uid) != uid || int(is.Gid) != gid || info.Mode() != mode {
			t.Errorf("%s: owner %d:%d mode %v, want %d:%d %v", p, is.Uid, is.Gid, info.Mode(), uid, gid, mode)
		}
	}
}

func TestAddVersionWritesThroughASymlink(t *testing.T) {
	r := newRing(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(strings.TrimPrefix(r.URI(), "file:"), link); err != nil {
		t.Fatal(err)
	}
	linked, err := seal.Open(t.Context(), "file:"+link)
	if err != nil {
		t.Fatal(err)
	}
	v := addVersion(t, linked)
	if _, err := r.Key(t.Context(), v); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
}

func TestDisabledKeysAreNoVersionsButStay(t *testing.T) {
	r := newRing(t)
	old := r.Newest()
	addVersion(t, r)
	path := strings.TrimPrefix(r.URI(), "file:")
	content, _ := os.ReadFile(path)
	disabled := strings.Replace(string(content), "ENABLED", "DISABLED", 1) // the older one
	if err := os.WriteFile(path, []byte(disabled), 0o600); err != nil {
		t.Fatal(err)
	}
	addVersion(t, r)
	if _, err := r.Key(t.Context(), old); !errors.Is(err, seal.ErrUnknownVersion) {
		t.Errorf("a disabled version: %v", err)
	}
	if content, _ := os.ReadFile(path); !strings.Contains(compact(t, content), `"keyId":`+old) {
		t.Error("AddVersion dropped a disabled key")
	}
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	r := newRing(t)
	lock, err := os.OpenFile(strings.TrimPrefix(r.URI(), "file:")+".lock", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = r.AddVersion(ctx)
	wantErr(t, "AddVersion under somebody's lock", err, context.DeadlineExceeded)
	if got := len(r.Versions()); got != 1 {
		t.Errorf("%d versions", got)
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	r := newRing(t)
	if err := os.Chmod(strings.TrimPrefix(r.URI(), "file:"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := seal.Open(t.Context(), r.URI())
	wantErr(t, "Open", err, os.ErrPermission)
	if !strings.Contains(err.Error(), r.URI()) {
		t.Error(err)
	}
}
