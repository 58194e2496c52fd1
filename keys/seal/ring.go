package seal

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// Ring is a master key: all versions found at one URI. It is safe for
// concurrent use, also by several processes on the same URI.
type Ring struct {
	uri    string
	source source

	reading sync.Mutex // one reading at a time, so that none installs an older state

	mu   sync.RWMutex
	keys []*MasterKey // oldest first, at least one
}

// source is one kind of place where a master key lives.
type source interface {
	// load returns the usable versions, the newest last, at least one.
	load(ctx context.Context) ([]version, error)
	// create makes a master key with one version, or fails with ErrExists.
	create(ctx context.Context) error
	// add makes a version, the newest from now on, and returns its name.
	add(ctx context.Context) (string, error)
	// remove forgets a version: ErrUnknownVersion, ErrNewestVersion.
	remove(ctx context.Context, name string) error
}

// A renaming source has one key under all names that version accepts.
type renaming interface {
	version(name string) (version, bool)
}

// version is one version as a source knows it. Its aead fails to decrypt with
// exactly ErrCannotOpen if the ciphertext is to blame, and with anything else
// if the key could not be asked.
type version struct {
	name string
	aead tink.AEADWithContext
}

// Open reads the master key at uri, or tries the one in a KMS: ErrBadURI,
// ErrUnknownScheme, ErrNoMasterKey, ErrPermissions, ErrNotMasterKey, ErrUnfit,
// ErrDenied, ErrUnavailable, or why it can't be read.
func Open(ctx context.Context, uri string) (*Ring, error) {
	src, uri, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	r := &Ring{uri: uri, source: src}
	if err := r.Reload(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Init creates a master key with one version at uri and opens it. It never
// overwrites: of any number of concurrent calls one succeeds and the others
// fail with ErrExists. In a KMS or a variable it makes none: ErrReadOnly.
func Init(ctx context.Context, uri string) (*Ring, error) {
	src, uri, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if err := src.create(ctx); err != nil {
		return nil, fmt.Errorf("create master key %s: %w", Redact(uri), err)
	}
	return Open(ctx, uri)
}

// Reload reads all versions again. When it fails, the Ring stays as it was.
func (r *Ring) Reload(ctx context.Context) error {
	r.reading.Lock()
	defer r.reading.Unlock()
	versions, err := r.source.load(ctx)
	if err != nil {
		return fmt.Errorf("master key %s: %w", Redact(r.uri), err)
	}
	keys := make([]*MasterKey, len(versions))
	for i, v := range versions {
		keys[i] = &MasterKey{uri: r.uri, version: v.name, aead: v.aead}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
	return nil
}

// URI returns the URI in the one spelling that is stored and compared:
// file:///etc/key and file:/etc/./key are both file:/etc/key.
func (r *Ring) URI() string { return r.uri }

// Versions returns the versions when last read, oldest first.
func (r *Ring) Versions() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, len(r.keys))
	for i, k := range r.keys {
		names[i] = k.version
	}
	return names
}

// Newest returns the version to wrap with, the last of Versions.
func (r *Ring) Newest() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.keys[len(r.keys)-1].version
}

// HoldsVersions reports whether the URI itself holds the versions, as a file does.
// A key of a KMS has one key under every name, and the KMS rotates it.
func (r *Ring) HoldsVersions() bool {
	_, renames := r.source.(renaming)
	return !renames
}

// Key returns one version. A version it does not know, another process may
// have added: it then reads once more before it fails with ErrUnknownVersion.
func (r *Ring) Key(ctx context.Context, version string) (*MasterKey, error) {
	if k := r.findVersion(version); k != nil {
		return k, nil
	}
	if err := r.Reload(ctx); err != nil {
		return nil, err
	}
	if k := r.findVersion(version); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("master key %s: %w: %q", Redact(r.uri), ErrUnknownVersion, version)
}

func (r *Ring) findVersion(name string) *MasterKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i := slices.IndexFunc(r.keys, func(k *MasterKey) bool { return k.version == name })
	if i >= 0 {
		return r.keys[i]
	}
	if s, ok := r.source.(renaming); ok {
		if v, known := s.version(name); known {
			return &MasterKey{uri: r.uri, version: v.name, aead: v.aead}
		}
	}
	return nil
}

// AddVersion adds the newest version and returns its name. Every process that
// unwraps must be able to read the URI before the version wraps anything: a key
// file must be on all machines. URIs that are not files fail with ErrReadOnly
// and an instruction.
func (r *Ring) AddVersion(ctx context.Context) (string, error) {
	name, err := r.source.add(ctx)
	if err != nil {
		return "", fmt.Errorf("add a version to master key %s: %w", Redact(r.uri), err)
	}
	return name, r.Reload(ctx)
}

// RemoveVersion deletes a version for good. Errors: ErrUnknownVersion,
// ErrNewestVersion, ErrReadOnly. Call it only for a version that wraps nothing:
// data keys still wrapped by it are lost.
func (r *Ring) RemoveVersion(ctx context.Context, version string) error {
	if err := r.source.remove(ctx, version); err != nil {
		return fmt.Errorf("remove version %q of master key %s: %w", version, Redact(r.uri), err)
	}
	return r.Reload(ctx)
}
