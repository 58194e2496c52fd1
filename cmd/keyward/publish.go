package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/tenant"
)

// unsignedRefresh is how long documents without a signature stay as they are.
const unsignedRefresh = 12 * time.Hour

// newPublisher returns the publisher of KEYWARD_PUBLISH, nil without it.
func (a *app) newPublisher() *publish.Publisher {
	if a.cfg.publish == nil {
		return nil
	}
	return publish.New(publish.Config{
		DB: a.db, Store: a.cfg.publish, Feed: a.snapshots.Fleet, Render: a.renderPublic,
		Paths: func(slug string) []string { return slices.Collect(publicPaths(slug).each) },
		Leads: a.worker.Leader, Now: utcNow, Log: a.log,
	})
}

// documentPaths are the public paths of a tenant's documents, without the leading slash.
type documentPaths struct{ set, signedSet, openID, oauth string }

// publicPaths returns the paths of httpapi/openapi.yaml for a slug. The platform's
// documents are at the root, and oauth is empty: in a directory no file can be where the
// directory of the tenants' is.
func publicPaths(slug string) documentPaths {
	below, oauth := path.Join("t", slug), path.Join(".well-known/oauth-authorization-server/t", slug)
	if slug == tenant.PlatformSlug {
		below, oauth = "", ""
	}
	at := func(name string) string { return path.Join(below, ".well-known", name) }
	return documentPaths{set: at("jwks.json"), signedSet: at("jwks.jwt"), openID: at("openid-configuration"), oauth: oauth}
}

func (p documentPaths) each(yield func(string) bool) {
	for _, at := range []string{p.set, p.signedSet, p.openID, p.oauth} {
		if at != "" && !yield(at) {
			return
		}
	}
}

// renderPublic renders the public documents of a live tenant, byte for byte as they are
// served. Errors: tenant.ErrNotFound, db.ErrUnavailable, tenant.ErrForged.
func (a *app) renderPublic(ctx context.Context, id uuid.UUID, slug string, atLeast int64) (publish.Content, error) {
	snap, err := a.snapshots.Fresh(ctx, id.String())
	if err == nil && snap.Version < atLeast { // the notification is still under way
		a.caches().Changed(id, slug)
		snap, err = a.snapshots.Fresh(ctx, id.String())
	}
	if err != nil {
		return publish.Content{}, err
	}
	if snap.Version < atLeast {
		return publish.Content{}, fmt.Errorf("version %d was read in place of %d: %w", snap.Version, atLeast, db.ErrUnavailable)
	}
	discovery, err := snap.Discovery(a.discovery)
	if err != nil {
		return publish.Content{}, err
	}
	signed, expires, err := a.renderSigned(ctx, snap)
	if err != nil {
		return publish.Content{}, err
	}
	at, caching, now := publicPaths(slug), snap.CacheControl(), utcNow()
	content := publish.Content{
		Version: snap.Version, RefreshAt: now.Add(expires.Sub(now) / 2),
		Objects: []publish.Object{
			{Path: at.set, ContentType: "application/json", CacheControl: caching, Body: snap.JWKS},
			{Path: at.signedSet, ContentType: "application/jwk-set+jwt", CacheControl: caching, Body: signed},
			{Path: at.openID, ContentType: "application/json", CacheControl: caching, Body: discovery.Body},
		},
	}
	if at.oauth != "" {
		content.Objects = append(content.Objects, publish.Object{Path: at.oauth, ContentType: "application/json", CacheControl: caching, Body: discovery.Body})
	}
	return content, nil
}

// renderSigned returns the signed set of a snapshot, nil for a tenant without a key that
// can sign, and when it expires.
func (a *app) renderSigned(ctx context.Context, snap *snapshot.Snapshot) (jwt []byte, expires time.Time, err error) {
	set, _, err := a.signer.SignedSet(ctx, snap, 0)
	switch {
	case errors.Is(err, signing.ErrNoActiveKey):
		return nil, utcNow().Add(2 * unsignedRefresh), nil
	case err != nil:
		return nil, time.Time{}, err
	case set.Version() != snap.Version:
		return nil, time.Time{}, fmt.Errorf("the signed set is of version %d: %w", set.Version(), db.ErrUnavailable)
	}
	return set.JWT, set.Expires(), nil
}

var publishDescs = []*prometheus.Desc{
	prometheus.NewDesc("keyward_publish_unpublished_tenants", "Tenants whose latest documents could not be written to the store of KEYWARD_PUBLISH, counted up to 10,000.", nil, nil),
	prometheus.NewDesc("keyward_publish_lag_seconds", "For how long the store of KEYWARD_PUBLISH has lacked a change; 0 if it has all of them.", nil, nil),
}

// registerPublisher registers the metrics of KEYWARD_PUBLISH.
func (a *app) registerPublisher(r *prometheus.Registry) {
	if a.publisher == nil {
		return
	}
	r.MustRegister(&sample{descs: publishDescs, ask: func(ctx context.Context) ([]float64, error) {
		lag, err := a.publisher.Lag(ctx, 1)
		return []float64{float64(lag.Unpublished), lag.Age(utcNow()).Seconds()}, err
	}})
	addCounter(r, "keyward_published_sets_total", "Tenants whose documents this process wrote to the store of KEYWARD_PUBLISH.", nil, func() int64 {
		published, _ := a.publisher.Stats()
		return published
	})
	addCounter(r, "keyward_publish_failures_total", "Failed attempts to write a tenant's documents to the store of KEYWARD_PUBLISH.", nil, func() int64 {
		_, failures := a.publisher.Stats()
		return failures
	})
}

const (
	publishDelay    = time.Minute // of a change that is not published, from which doctor warns
	laggingTenants  = 10          // whose names doctor prints
	publishTestTime = 20 * time.Second
)

// checkPublishing checks the store of KEYWARD_PUBLISH, and what it lacks.
func (e *examination) checkPublishing(ctx context.Context) {
	store := e.p.cfg.publish
	if store == nil {
		return
	}
	testing, cancel := context.WithTimeout(ctx, publishTestTime)
	defer cancel()
	e.checkError("publishing", store.Target()+" can be written, conditionally", "check the address, the credentials and what they may do (docs/publishing.md)", store.Check(testing))
	lag, err := publish.Config{DB: e.db, Store: store}.Lag(ctx, laggingTenants)
	switch {
	case err != nil:
		e.addFinding(failure, "publishing", "%v", err)
	case lag.CaughtUpAt.IsZero():
		e.addFinding(warning, "publishing", "no process has published every tenant yet: is a worker with KEYWARD_PUBLISH running?")
	case lag.Age(utcNow()) > publishDelay:
		e.addFinding(failure, "publishing", "the store has lacked a change for %v, last caught up at %s: is a worker with KEYWARD_PUBLISH running?",
			lag.Age(utcNow()).Round(time.Second), lag.CaughtUpAt.Format(time.RFC3339))
	default:
		e.addFinding(fine, "publishing", "every change was published or tried at %s", lag.CaughtUpAt.Format(time.RFC3339))
	}
	for _, t := range lag.First {
		e.addFinding(warning, "publishing", "tenant %s is not published since %s (%d attempts): %s", t.Slug, t.Since.Format(time.RFC3339), t.Failures, t.Error)
	}
	if more := lag.Unpublished - int64(len(lag.First)); more > 0 {
		e.addFinding(warning, "publishing", "and %d more tenants", more)
	}
}
