package publish

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Archive keeps documents that are written once and never changed, in a directory or an
// S3-compatible bucket.
type Archive interface {
	// Create writes a document under a name that has none: what write writes, all of it or
	// nothing. Errors: ErrExists, that of write, and errors of the store.
	Create(ctx context.Context, name, contentType string, write func(io.Writer) error) error
	// Read copies a document to w. It is not for untrusted names.
	Read(ctx context.Context, name string, w io.Writer) error
	// KeepNewest deletes the documents whose names match a pattern (path.Match), except the
	// last n by name, and returns the first name that is left, "" for none. In a bucket it
	// deletes nothing and returns "": whoever may write there need not be able to delete.
	KeepNewest(pattern string, n int) (oldest string, err error)
	// DeleteBefore deletes the documents whose names match a pattern and come before a name;
	// in a bucket none.
	DeleteBefore(pattern, name string) error
	// Check writes a probe and returns why the archive cannot be used, or nil.
	Check(ctx context.Context) error
	// Target names the archive in messages; it has no secret.
	Target() string
}

// ErrExists means that an archive has a document of this name.
var ErrExists = errors.New("publish: there is such a document, which is never replaced")

// maxDocument bounds what is read of a document: the most that S3 takes in one request.
const maxDocument = 5 << 30

// OpenArchive returns the archive that a URI names, as in [Open]. Errors: ErrBadURI.
func OpenArchive(uri string) (Archive, error) {
	a, err := parseArchive(uri)
	if d, ok := a.(directoryArchive); ok && !d.exists() {
		return nil, ErrBadURI
	}
	return a, err
}

func parseArchive(uri string) (Archive, error) {
	d, b, err := parseURI(uri)
	switch {
	case err != nil:
		return nil, err
	case b != nil:
		return bucketArchive{b}, nil
	}
	return directoryArchive{d}, nil
}

// ReadDocument copies the document that a URI names to w: file:///directory/name or
// s3://bucket/prefix/name. Errors: ErrBadURI, and errors of the store.
func ReadDocument(ctx context.Context, uri string, w io.Writer) error {
	at := strings.LastIndexByte(uri, '/')
	if at < 0 || at+1 == len(uri) {
		return ErrBadURI
	}
	archive, err := parseArchive(uri[:at+1]) // whose error says what does not exist
	if err != nil {
		return err
	}
	return archive.Read(ctx, uri[at+1:], w)
}

// directoryArchive is an archive in a file system that has hard links: a link never
// replaces a file, unlike a rename.
type directoryArchive struct{ *directory }

// Create implements [Archive]. Only the owner of the process can read the file.
func (d directoryArchive) Create(_ context.Context, name, _ string, write func(io.Writer) error) error {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return storeError(d.path, err)
	}
	defer root.Close()
	temporary := "." + name + "." + uuid.NewString()
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, markFileMode)
	if err != nil {
		return storeError(temporary, err)
	}
	defer func() { _ = root.Remove(temporary) }() // hidden, and of a random name
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Link(temporary, name)
	}
	if errors.Is(err, os.ErrExist) {
		err = ErrExists
	}
	if err != nil {
		return storeError(name, err)
	}
	return storeError(name, syncDir(root, "."))
}

// Read implements [Archive].
func (d directoryArchive) Read(_ context.Context, name string, w io.Writer) error {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return storeError(d.path, err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return storeError(name, err)
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return storeError(name, err)
}

// KeepNewest implements [Archive].
func (d directoryArchive) KeepNewest(pattern string, n int) (oldest string, err error) {
	names, err := d.matching(pattern)
	if err != nil || len(names) == 0 {
		return "", err
	}
	old := max(0, len(names)-n)
	if old < len(names) {
		oldest = names[old]
	}
	return oldest, d.remove(names[:old])
}

// DeleteBefore implements [Archive].
func (d directoryArchive) DeleteBefore(pattern, name string) error {
	names, err := d.matching(pattern)
	if err != nil {
		return err
	}
	before, _ := slices.BinarySearch(names, name)
	return d.remove(names[:before])
}

// matching returns the names of the documents that match a pattern, in order.
func (d directoryArchive) matching(pattern string) (names []string, err error) {
	files, err := os.ReadDir(d.path) // sorted by name
	if err != nil {
		return nil, storeError(d.path, err)
	}
	for _, f := range files {
		if matches, err := path.Match(pattern, f.Name()); err == nil && matches && f.Type().IsRegular() {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

func (d directoryArchive) remove(names []string) error {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return storeError(d.path, err)
	}
	defer root.Close()
	var failed error
	for _, name := range names {
		failed = errors.Join(failed, root.Remove(name))
	}
	return failed
}

// Check implements [Archive].
func (d directoryArchive) Check(ctx context.Context) error {
	probe := ".check-" + uuid.NewString()
	if err := d.Create(ctx, probe, "", writeProbe); err != nil {
		return err
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return storeError(d.path, err)
	}
	defer root.Close()
	return storeError(probe, root.Remove(probe))
}

func writeProbe(w io.Writer) error {
	_, err := io.WriteString(w, "keyward\n")
	return err
}

// bucketArchive is an archive in a bucket. It needs no right to delete, nor to write
// without If-None-Match.
type bucketArchive struct{ *bucket }

// Create implements [Archive]. The document is in a temporary file before it is sent,
// since the signature is of its hash.
func (b bucketArchive) Create(ctx context.Context, name, contentType string, write func(io.Writer) error) error {
	f, err := os.CreateTemp("", "keyward-*")
	if err != nil {
		return storeError(name, fmt.Errorf("a temporary file (TMPDIR): %w", err))
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	if err := write(io.MultiWriter(f, sum)); err != nil {
		return storeError(name, err)
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return storeError(name, err)
	}
	header := onlyNew.Clone()
	header.Set("Content-Type", contentType)
	header.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum.Sum(nil))) // which a bucket with a retention lock demands
	body := payload{size, [sha256.Size]byte(sum.Sum(nil)), func() io.Reader { return io.NewSectionReader(f, 0, size) }}
	if _, _, err = b.requestWith(ctx, http.MethodPut, name, body, header); isConflict(err) {
		err = ErrExists
	}
	return storeError(name, err)
}

// Read implements [Archive]. A document takes as long as it comes: what is bounded is the
// time to the first byte, and from each to the next.
func (b bucketArchive) Read(ctx context.Context, name string, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(b.timeout, func() { cancel(errSilent) })
	defer silence.Stop()
	err := b.copyTo(ctx, name, io.MultiWriter(w, onWrite(func() { silence.Reset(b.timeout) })))
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	return storeError(name, err)
}

var errSilent = errors.New("the store has stopped answering, or never began")

// onWrite is a writer that calls a function.
type onWrite func()

func (f onWrite) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}

func (b bucketArchive) copyTo(ctx context.Context, name string, w io.Writer) error {
	answer, err := b.send(ctx, http.MethodGet, name, emptyPayload, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	n, err := io.Copy(w, io.LimitReader(answer.Body, maxDocument+1))
	if err == nil && n > maxDocument {
		err = errors.New("the document does not end")
	}
	return err
}

// KeepNewest implements [Archive].
func (bucketArchive) KeepNewest(string, int) (string, error) { return "", nil }

// DeleteBefore implements [Archive].
func (bucketArchive) DeleteBefore(string, string) error { return nil }

// Check implements [Archive]. It leaves its probe, which shows a later Check that
// conditions are kept.
func (b bucketArchive) Check(ctx context.Context) error {
	probe := path.Join(markDir, "archive")
	for range 2 {
		err := b.Create(ctx, probe, "text/plain; charset=utf-8", writeProbe)
		if errors.Is(err, ErrExists) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return storeError(probe, errUnconditional)
}
