package httpapi

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/tenant"
)

// unsignedRefresh is how long documents without a signature stay as they are.
const unsignedRefresh = 12 * time.Hour

// Documents renders the public documents of tenants for a [publish.Publisher].
type Documents struct {
	Caches    Caches
	PublicURL string // without a trailing slash
	Now       func() time.Time
}

// PublishedPaths are the public paths of a tenant's documents, without the leading slash.
type PublishedPaths struct{ Set, SignedSet, OpenID, OAuth string }

// PathsOf returns the paths of openapi.yaml for a slug. The platform's documents are at the
// root, and OAuth is empty: in a directory no file can be where the directory of the
// tenants' is.
func PathsOf(slug string) PublishedPaths {
	below, oauth := path.Join("t", slug), path.Join(".well-known/oauth-authorization-server/t", slug)
	if slug == tenant.PlatformSlug {
		below, oauth = "", ""
	}
	at := func(name string) string { return path.Join(below, ".well-known", name) }
	return PublishedPaths{Set: at("jwks.json"), SignedSet: at("jwks.jwt"), OpenID: at("openid-configuration"), OAuth: oauth}
}

// DocumentPaths returns all paths of [PathsOf] that are not empty.
func DocumentPaths(slug string) []string {
	p := PathsOf(slug)
	paths := []string{p.Set, p.SignedSet, p.OpenID}
	if p.OAuth != "" {
		paths = append(paths, p.OAuth)
	}
	return paths
}

// Render renders the documents of a live tenant at a version or a later one, byte for byte
// as they are served. Errors: tenant.ErrNotFound, tenant.ErrUnavailable, tenant.ErrForged.
func (d Documents) Render(ctx context.Context, id uuid.UUID, slug string, atLeast int64) (publish.Content, error) {
	snap, err := d.Caches.Snapshots.Fresh(ctx, id.String())
	if err == nil && snap.Version < atLeast { // the notification is still under way
		d.Caches.Changed(id, slug)
		snap, err = d.Caches.Snapshots.Fresh(ctx, id.String())
	}
	if err != nil {
		return publish.Content{}, err
	}
	if snap.Version < atLeast {
		return publish.Content{}, fmt.Errorf("version %d was read in place of %d: %w", snap.Version, atLeast, tenant.ErrUnavailable)
	}
	discovery, err := snap.Discovery(NewDiscovery(d.PublicURL))
	if err != nil {
		return publish.Content{}, err
	}
	signed, expires, err := d.renderSigned(ctx, snap)
	if err != nil {
		return publish.Content{}, err
	}
	at, caching, now := PathsOf(slug), snap.CacheControl(), d.Now()
	content := publish.Content{
		Version: snap.Version, RefreshAt: now.Add(expires.Sub(now) / 2),
		Objects: []publish.Object{
			{Path: at.Set, ContentType: "application/json", CacheControl: caching, Body: snap.JWKS},
			{Path: at.SignedSet, ContentType: "application/jwk-set+jwt", CacheControl: caching, Body: signed},
			{Path: at.OpenID, ContentType: "application/json", CacheControl: caching, Body: discovery.Body},
		},
	}
	if at.OAuth != "" {
		content.Objects = append(content.Objects, publish.Object{Path: at.OAuth, ContentType: "application/json", CacheControl: caching, Body: discovery.Body})
	}
	return content, nil
}

// renderSigned returns the signed set of a snapshot, nil for a tenant without a key that
// can sign, and when it expires.
func (d Documents) renderSigned(ctx context.Context, snap *snapshot.Snapshot) (jwt []byte, expires time.Time, err error) {
	set, _, err := d.Caches.Signer.SignedSet(ctx, snap, 0)
	switch {
	case errors.Is(err, signing.ErrNoActiveKey):
		return nil, d.Now().Add(2 * unsignedRefresh), nil
	case err != nil:
		return nil, time.Time{}, err
	case set.Version() != snap.Version:
		return nil, time.Time{}, fmt.Errorf("the signed set is of version %d: %w", set.Version(), tenant.ErrUnavailable)
	}
	return set.JWT, set.Expires(), nil
}
