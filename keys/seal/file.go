package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

const maxFileSize = 1 << 20 // thousands of versions

// file is a master key in a file of this machine: a cleartext Tink keyset in
// JSON, mode 0600, one key per version, the primary key being the newest.
//
//	{"primaryKeyId":2867912355,"key":[
//	  {"keyData":{"typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmKey",
//	    "value":"…","keyMaterialType":"SYMMETRIC"},
//	   "status":"ENABLED","keyId":2867912355,"outputPrefixType":"TINK"}]}
//
// Readers take no lock: a file appears and changes only as a whole. Writers
// hold the lock <path>.lock, which stays behind, and write <path>.new; one
// found there under the lock was left by a crash and is removed.
type file struct{ path string }

func (f file) load(ctx context.Context) ([]version, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h, _, err := f.read()
	if err != nil {
		return nil, err
	}
	return versionsOf(h)
}

func (f file) create(ctx context.Context) error {
	if _, err := os.Lstat(f.path); err == nil {
		return ErrExists
	}
	return f.withLock(ctx, nil, func() error {
		h, _, err := withNewKey(nil)
		if err != nil {
			return err
		}
		// link(2), unlike rename(2), never replaces.
		err = f.write(h, nil, os.Link)
		if errors.Is(err, fs.ErrExist) {
			return ErrExists
		}
		return err
	})
}

func (f file) add(ctx context.Context) (name string, err error) {
	err = f.update(ctx, func(h *keyset.Handle) (*keyset.Handle, error) {
		h, name, err = withNewKey(h)
		return h, err
	})
	return name, err
}

func (f file) remove(ctx context.Context, name string) error {
	return f.update(ctx, func(h *keyset.Handle) (*keyset.Handle, error) {
		return withoutKey(h, name)
	})
}

// update replaces the present content of the file, not an earlier reading of
// it, and keeps its owner and mode. A symbolic link stays a link.
func (f file) update(ctx context.Context, change func(*keyset.Handle) (*keyset.Handle, error)) error {
	_, info, err := f.read()
	if err != nil {
		return err
	}
	path, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return err
	}
	f = file{path}
	return f.withLock(ctx, info, func() error {
		h, info, err := f.read()
		if err != nil {
			return err
		}
		if h, err = change(h); err != nil {
			return err
		}
		return f.write(h, info, os.Rename)
	})
}

// read checks the mode of the very file it reads.
func (f file) read() (*keyset.Handle, fs.FileInfo, error) {
	// O_NONBLOCK: a named pipe must not make us wait for its writer.
	r, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w; keyward master init creates one", ErrNoMasterKey)
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = r.Close() }()
	info, err := r.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := f.checkMode(info); err != nil {
		return nil, nil, err
	}
	data := make([]byte, info.Size())
	defer clear(data)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	h, err := parseKeyset(data)
	return h, info, err
}

func (f file) checkMode(info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrNotMasterKey, f.path)
	case info.Size() > maxFileSize:
		return fmt.Errorf("%w: %s is too large for one", ErrNotMasterKey, f.path)
	case excessMode(info) != 0:
		return fmt.Errorf("%w (mode %04o); chmod 600 %s, or 640 for a file of root", ErrPermissions, info.Mode().Perm(), f.path)
	}
	return nil
}
