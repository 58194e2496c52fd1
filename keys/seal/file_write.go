package seal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

// write makes <path>.new durable, and only then, by publish, the file itself.
func (f file) write(h *keyset.Handle, like fs.FileInfo, publish func(from, to string) error) error {
	data, err := formatKeyset(h)
	if err != nil {
		return err
	}
	defer clear(data)
	temp := f.path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	if err := writeNew(temp, data, like); err != nil {
		return err
	}
	if err := publish(temp, f.path); err != nil { // the point of no return
		return err
	}
	return syncDirectory(filepath.Dir(f.path))
}

// writeNew returns when the content is on disk.
func writeNew(path string, data []byte, like fs.FileInfo) error {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err == nil && like != nil {
		err = errors.Join(keepOwner(w, like), w.Chmod(like.Mode().Perm()))
	}
	return errors.Join(err, w.Sync(), w.Close())
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
