package publish

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"github.com/keyward/keyward/internal/filelock"
)

// directory is a store in a file system. A web server that serves the directory serves
// the public paths. All that this package writes lies within it: a symbolic link that
// leads out is not followed ([os.Root]).
//
// A lock file serializes the writers of a slug. The order of a state is written before
// its documents: of a writer that is ended in between, the documents may be older than
// the mark, never newer, so that only the same state or a newer one can follow.
type directory struct{ path string }

const (
	publicFileMode = 0o644 // of documents, which a web server reads
	publicDirMode  = 0o755
	markFileMode   = 0o600
	markDirMode    = 0o700

	lockFiles = 256 // which the slugs share
)

func (d *directory) exists() bool {
	info, err := os.Stat(d.path)
	return err == nil && info.IsDir()
}

// Target implements [Store].
func (d *directory) Target() string { return "file://" + d.path }

// Put implements [Store].
func (d *directory) Put(ctx context.Context, slug string, at Order, objects []Object) error {
	return d.withLock(ctx, slug, func(root *os.Root) error {
		mark := path.Join(markDir, slug)
		current, err := readMark(root, mark)
		if err != nil {
			return storeError(mark, err)
		}
		if at.Compare(current) < 0 {
			return ErrSuperseded
		}
		if err := replaceFile(root, mark, []byte(at.String()+"\n"), markFileMode); err != nil {
			return storeError(mark, err)
		}
		for _, o := range objects {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := putFile(root, o); err != nil {
				return storeError(o.Path, err)
			}
		}
		return nil
	})
}

// Check implements [Store].
func (d *directory) Check(ctx context.Context) error {
	return d.withLock(ctx, "", func(root *os.Root) error {
		probe := path.Join(markDir, "check")
		if err := replaceFile(root, probe, []byte("keyward\n"), markFileMode); err != nil {
			return storeError(probe, err)
		}
		return storeError(probe, root.Remove(probe))
	})
}

// withLock runs fn while no other process, and nothing else in this one, writes the slug.
func (d *directory) withLock(ctx context.Context, slug string, fn func(*os.Root) error) error {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return storeError(d.path, err)
	}
	defer root.Close()
	if err := root.MkdirAll(markDir, markDirMode); err != nil {
		return storeError(markDir, err)
	}
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, slug)
	name := path.Join(markDir, "lock-"+strconv.FormatUint(uint64(sum.Sum32()%lockFiles), 16))
	lock, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, markFileMode)
	if err != nil {
		return storeError(name, err)
	}
	defer lock.Close() // frees the lock
	err = filelock.Wait(ctx, lock)
	if errors.Is(err, errors.ErrUnsupported) { // without a lock two workers could mix their states
		err = errors.New("publishing to a directory needs flock(2), which this system does not have: publish to a bucket")
	}
	if err != nil {
		return storeError(name, err)
	}
	return fn(root)
}

// LatestOrder returns the order of the latest state of a slug that was written, or was
// about to be, to the directory of a store; the zero order if none was.
func LatestOrder(root *os.Root, slug string) (Order, error) {
	return readMark(root, path.Join(markDir, slug))
}

// readMark returns the order of the state in the directory; the zero order precedes all.
func readMark(root *os.Root, name string) (Order, error) {
	text, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Order{}, nil
	}
	if err != nil {
		return Order{}, err
	}
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text = text[:n-1]
	}
	return parseOrder(string(text))
}

// putFile writes or removes a document.
func putFile(root *os.Root, o Object) error {
	if o.Body == nil {
		return removeFile(root, o.Path)
	}
	if err := makePublicDir(root, path.Dir(o.Path)); err != nil {
		return err
	}
	return replaceFile(root, o.Path, o.Body, publicFileMode)
}

// makePublicDir makes a directory and those above it that are missing, for everybody to
// read: the umask does not count. Directories that are there keep their modes.
func makePublicDir(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if err := makePublicDir(root, path.Dir(name)); err != nil {
		return err
	}
	err := root.Mkdir(name, publicDirMode)
	if err == nil {
		return root.Chmod(name, publicDirMode)
	}
	if info, statErr := root.Stat(name); statErr == nil && info.IsDir() {
		return nil
	}
	return err
}

// removeFile removes a document, and the directories that it leaves empty.
func removeFile(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := path.Dir(name)
	if err := syncDir(root, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for ; dir != "."; dir = path.Dir(dir) {
		if root.Remove(dir) != nil { // it is not empty, or another writer has removed it
			return nil
		}
	}
	return nil
}

// replaceFile replaces a file at once: readers, also after a crash of the machine, see
// the old or the new content.
func replaceFile(root *os.Root, name string, content []byte, mode os.FileMode) error {
	temporary := path.Join(path.Dir(name), "."+path.Base(name)+".new") // of one writer at a time
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()) // the umask does not count
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		_ = root.Remove(temporary) // the next writer truncates it otherwise
		return err
	}
	return syncDir(root, path.Dir(name))
}

// syncDir makes the names in a directory durable.
func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
