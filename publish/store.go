package publish

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Order orders the states of a slug. A slug belongs to one tenant after another, and
// ids of tenants (UUIDv7) grow; a recovery of the database, which begins an epoch, may
// put versions back.
type Order struct {
	Epoch    int64
	TenantID uuid.UUID
	Version  int64 // the seq of the tenant's last audit event
}

// Compare returns -1 if o is before p, 0 if they are the same, else 1.
func (o Order) Compare(p Order) int {
	return cmp.Or(cmp.Compare(o.Epoch, p.Epoch), bytes.Compare(o.TenantID[:], p.TenantID[:]), cmp.Compare(o.Version, p.Version))
}

// String returns the form in which stores keep an order.
func (o Order) String() string {
	return strconv.FormatInt(o.Epoch, 10) + "." + o.TenantID.String() + "." + strconv.FormatInt(o.Version, 10)
}

// parseOrder is the inverse of String: what String does not write is no order.
func parseOrder(text string) (o Order, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Order{}, errBadMark
	}
	var errs [3]error
	o.Epoch, errs[0] = strconv.ParseInt(parts[0], 10, 64)
	o.TenantID, errs[1] = uuid.Parse(parts[1])
	o.Version, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(errs[:]...) != nil || o.String() != text {
		return Order{}, errBadMark
	}
	return o, nil
}

// Object is a document of a tenant.
type Object struct {
	Path         string // below the store's root, as in t/acme/.well-known/jwks.json
	ContentType  string
	CacheControl string
	Body         []byte // nil: there is none, and one that was published is removed
}

// Store holds published documents.
type Store interface {
	// Put makes the objects of a slug those of a state. It can be repeated. Errors:
	// ErrSuperseded, which says that the store has a newer state, and errors of the store.
	Put(ctx context.Context, slug string, at Order, objects []Object) error
	// Check writes a probe and returns why the store cannot be used, or nil.
	Check(ctx context.Context) error
	// Target names the store in the database and in messages; it has no secret.
	Target() string
}

var (
	// ErrSuperseded means that a store has a newer state than the one to be published.
	ErrSuperseded = errors.New("publish: the store has a newer state of this tenant")
	// ErrBadURI means that a URI names no store, or a directory that does not exist.
	ErrBadURI = errors.New("publish: not the URI of a store")

	errBadMark = errors.New("publish: the order of a published state cannot be read: it was changed by hand")
)

// markDir holds what orders the states, beside the documents.
const markDir = ".keyward"

// Open returns the store that a URI names: file:///directory, which must exist, or
// s3://bucket/prefix. It opens no connection. Errors: ErrBadURI.
func Open(uri string) (Store, error) {
	d, b, err := parseURI(uri)
	switch {
	case err != nil:
		return nil, err
	case b != nil:
		return b, nil
	case !d.exists():
		return nil, ErrBadURI
	}
	return d, nil
}

// parseURI returns the directory or the bucket that a URI names. Errors: ErrBadURI.
func parseURI(uri string) (*directory, *bucket, error) {
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, nil, ErrBadURI
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(filepath.FromSlash(u.Path)):
		return &directory{path: filepath.Clean(filepath.FromSlash(u.Path))}, nil, nil
	case u.Scheme == "s3" && u.Host != "" && u.Port() == "":
		prefix := strings.TrimPrefix(path.Clean("/"+u.Path), "/")
		if prefix != "" {
			prefix += "/"
		}
		return nil, &bucket{name: u.Host, prefix: prefix, timeout: requestTimeout}, nil
	}
	return nil, nil, ErrBadURI
}

// storeError says which document could not be published.
func storeError(at string, err error) error {
	if err == nil || errors.Is(err, ErrSuperseded) {
		return err
	}
	return fmt.Errorf("publish: %s: %w", at, err)
}
