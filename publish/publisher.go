package publish

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/callstack"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// Content is what is published of a tenant.
type Content struct {
	Version int64
	Objects []Object
	// RefreshAt is when it must be published again without a change, before a signature
	// in it expires.
	RefreshAt time.Time
}

// Config configures a [Publisher].
type Config struct {
	DB    *db.DB
	Store Store
	// Feed returns the tenants that changed after a cursor ([snapshot.Cache.Fleet]).
	Feed func(ctx context.Context, after string, limit int) (snapshot.FleetPage, error)
	// Render returns the documents of a live tenant at a version, or at a later one. A
	// tenant that was deleted meanwhile is tenant.ErrNotFound.
	Render func(ctx context.Context, id uuid.UUID, slug string, atLeast int64) (Content, error)
	// Paths returns the paths of all documents that a tenant with this slug may have.
	Paths func(slug string) []string
	Leads func() bool // whether this process is the one to publish
	Now   func() time.Time
	Log   *slog.Logger
}

// Publisher publishes the documents of all tenants in a store, in the process that leads
// the workers. Two that publish at once do no harm: the store orders their states.
//
// Changes that are notified go ahead of everything else, in lanes of their own. Behind
// them the feed of all changes is followed, from a place in the database, and what failed
// or is about to expire is repeated when its row says so.
type Publisher struct {
	cfg    Config
	urgent chan struct{} // lanes
	bulk   chan struct{}
	wake   chan struct{} // of the feed; of one
	hurry  chan struct{} // of the notified; of one

	mu       sync.Mutex
	notified map[uuid.UUID]bool // tenants to be published at once
	running  map[uuid.UUID]*run

	outage    outage
	published atomic.Int64
	failures  atomic.Int64
}

const (
	urgentLanes = 4
	bulkLanes   = 4
	maxNotified = 10_000 // further ones wait for the feed
	feedPage    = 100
	duePage     = 100

	pollInterval   = time.Second      // of the feed, while it lags or is held
	idleInterval   = 10 * time.Second // of the feed, else
	attemptTimeout = 30 * time.Second // of one tenant
	minRetry       = time.Second
	maxRetry       = time.Minute
	minRefresh     = 10 * time.Second
)

// New returns a publisher, which does nothing before Run.
func New(cfg Config) *Publisher {
	return &Publisher{
		cfg: cfg, urgent: make(chan struct{}, urgentLanes), bulk: make(chan struct{}, bulkLanes),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		notified: map[uuid.UUID]bool{}, running: map[uuid.UUID]*run{},
	}
}

// Changed publishes a tenant that has changed. It never blocks.
func (p *Publisher) Changed(id uuid.UUID) {
	if p == nil || !p.cfg.Leads() {
		return
	}
	p.mu.Lock()
	if len(p.notified) < maxNotified {
		p.notified[id] = true
	}
	p.mu.Unlock()
	signal(p.hurry)
	signal(p.wake)
}

// Missed has the feed read, because notifications may have been lost.
func (p *Publisher) Missed() {
	if p != nil {
		signal(p.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats counts what this process did since its start: tenants published, and attempts that
// failed.
func (p *Publisher) Stats() (published, failures int64) {
	return p.published.Load(), p.failures.Load()
}

// Lag reads what the store lacks; see [Config.Lag].
func (p *Publisher) Lag(ctx context.Context, tenants int) (Lag, error) {
	return p.cfg.Lag(ctx, tenants)
}

// Run publishes until ctx is done.
func (p *Publisher) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { p.publishNotified(ctx) })
	loops.Go(func() { p.followFeed(ctx) })
	loops.Wait()
}

// publishNotified publishes what was notified, as soon as there is a lane.
func (p *Publisher) publishNotified(ctx context.Context) {
	var lanes sync.WaitGroup
	defer lanes.Wait()
	for {
		id, ok := p.takeNotified(ctx)
		if !ok {
			return
		}
		select {
		case p.urgent <- struct{}{}:
		case <-ctx.Done():
			return
		}
		lanes.Go(func() {
			defer func() { <-p.urgent }()
			p.publishUnlessRunning(ctx, id)
		})
	}
}

// takeNotified waits for a notified tenant, and while the store is down for its return.
func (p *Publisher) takeNotified(ctx context.Context) (id uuid.UUID, ok bool) {
	for {
		if !p.outage.wait(ctx) {
			return uuid.Nil, false
		}
		p.mu.Lock()
		for id = range p.notified {
			delete(p.notified, id)
			p.mu.Unlock()
			return id, true
		}
		p.mu.Unlock()
		select {
		case <-p.hurry:
		case <-ctx.Done():
			return uuid.Nil, false
		}
	}
}

// followFeed publishes what the feed and the rows say, until ctx is done.
func (p *Publisher) followFeed(ctx context.Context) {
	for ctx.Err() == nil {
		pause := idleInterval
		if p.cfg.Leads() && p.outage.wait(ctx) {
			more, err := p.pass(ctx)
			switch {
			case err != nil && ctx.Err() == nil:
				p.cfg.Log.Warn("publishing is behind; will be retried", "target", p.cfg.Store.Target(), "error", err)
				pause = pollInterval
			case more:
				pause = 0
			default:
				pause = p.untilDue(ctx)
			}
		}
		select {
		case <-p.wake:
			sleep(ctx, min(pause, pollInterval/10)) // merges the notifications of a burst
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// untilDue returns for how long there is nothing to do but to wait for a change.
func (p *Publisher) untilDue(ctx context.Context) time.Duration {
	next := p.cfg.Now().Add(idleInterval)
	err := p.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		next, err = tx.NextPublication(ctx, p.cfg.Store.Target())
		return err
	})
	if err != nil {
		return pollInterval
	}
	return min(max(next.Sub(p.cfg.Now()), minRetry/10), idleInterval)
}

// pass publishes a page of the feed, and a page of the rows that are due. more reports
// that there is more of either.
func (p *Publisher) pass(ctx context.Context) (more bool, err error) {
	fromFeed, err := p.passFeed(ctx)
	if err != nil {
		return false, err
	}
	var due []uuid.UUID
	err = p.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		due, err = tx.DuePublications(ctx, p.cfg.Store.Target(), p.cfg.Now(), duePage)
		return err
	})
	if err != nil {
		return false, err
	}
	return fromFeed || len(due) == duePage, p.publishAll(ctx, due)
}

// passFeed publishes a page of the feed, and then saves the place after it.
func (p *Publisher) passFeed(ctx context.Context) (more bool, err error) {
	target := p.cfg.Store.Target()
	var place db.PublishPlaceRow
	err = p.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		place, err = tx.PublishPlace(ctx, target)
		return err
	})
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return false, err
	}
	asOf := p.cfg.Now()
	page, err := p.cfg.Feed(ctx, place.Place, feedPage)
	if errors.Is(err, keys.ErrBadCursor) { // the database was recovered: its states are of a new epoch
		page, err = p.cfg.Feed(ctx, "", feedPage)
	}
	if err != nil {
		return false, err
	}
	ids := make([]uuid.UUID, 0, len(page.Items))
	for _, item := range page.Items {
		ids = append(ids, item.TenantID)
	}
	if err := p.publishAll(ctx, ids); err != nil {
		return false, err
	}
	more = len(page.Items) == feedPage
	var caughtUp *time.Time
	if !more && !page.Held {
		caughtUp = &asOf
	}
	if page.Next == place.Place && !staleSince(place.CaughtUpAt, caughtUp) {
		return more, nil
	}
	return more, p.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error { return tx.SavePublishPlace(ctx, target, page.Next, caughtUp) })
}

// staleSince reports whether the time at which the feed was read to its end is worth
// writing again.
func staleSince(known, now *time.Time) bool {
	return now != nil && (known == nil || now.Sub(*known) >= idleInterval/2)
}

// publishAll publishes tenants in the lanes of the feed. Errors: what kept a result from
// being recorded; failures of single tenants are in their rows.
func (p *Publisher) publishAll(ctx context.Context, ids []uuid.UUID) error {
	var lanes sync.WaitGroup
	errs := make([]error, len(ids))
	for i, id := range ids {
		if !p.outage.wait(ctx) {
			break
		}
		p.bulk <- struct{}{}
		lanes.Go(func() {
			defer func() { <-p.bulk }()
			errs[i] = p.publishAndWait(ctx, id)
		})
	}
	lanes.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// run is the publication of one tenant in progress.
type run struct {
	again bool // the tenant has changed meanwhile
	done  chan struct{}
	err   error // what kept the result from being recorded; read after done
}

// publishUnlessRunning publishes a tenant, or has the run in progress do it once more: a
// store that is slow with one tenant takes one lane.
func (p *Publisher) publishUnlessRunning(ctx context.Context, id uuid.UUID) {
	if r, mine := p.joinRun(id); mine {
		p.runUntilDone(ctx, id, r) // its row says when it is tried again; if that failed too, the feed does
	}
}

// publishAndWait publishes a tenant, or waits until the run in progress has done it once
// more: the place in the feed must not pass a change before its result is recorded.
// Errors: what kept the result from being recorded.
func (p *Publisher) publishAndWait(ctx context.Context, id uuid.UUID) error {
	r, mine := p.joinRun(id)
	if mine {
		p.runUntilDone(ctx, id, r)
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// joinRun returns the run of a tenant, which is the caller's to execute if it is new.
func (p *Publisher) joinRun(id uuid.UUID) (r *run, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r = p.running[id]; r != nil {
		r.again = true
		return r, false
	}
	r = &run{again: true, done: make(chan struct{})}
	p.running[id] = r
	return r, true
}

// runUntilDone publishes a tenant until it has not changed meanwhile.
func (p *Publisher) runUntilDone(ctx context.Context, id uuid.UUID, r *run) {
	defer close(r.done)
	for p.continueRun(id, r) {
		r.err = p.publishOnce(ctx, id)
	}
}

// continueRun reports whether a run goes on; else it ends.
func (p *Publisher) continueRun(id uuid.UUID, r *run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.again && r.err == nil {
		r.again = false
		return true
	}
	delete(p.running, id)
	return false
}

// errPanic stands for a recovered panic, whose value may be secret.
var errPanic = errors.New("publish: panic")

// publication is a tenant and what was published of it.
type publication struct {
	db.PublicationOfRow
	currentEpoch int64 // of the database
}

func (p *Publisher) publishOnce(ctx context.Context, id uuid.UUID) (err error) {
	ctx, cancel := finishSoon(ctx)
	defer cancel()
	var row publication
	err = p.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if row.currentEpoch, err = tx.CurrentEpoch(ctx); err != nil {
			return err
		}
		row.PublicationOfRow, err = tx.PublicationOf(ctx, p.cfg.Store.Target(), id)
		return err
	})
	if err != nil {
		return err
	}
	now := p.cfg.Now()
	if row.PublishedXID == row.FeedXID && row.Epoch == row.currentEpoch && row.Failures == 0 && now.Before(row.DueAt) {
		return nil
	}
	content, err := p.put(ctx, id, row)
	p.outage.record(err)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) { // the process ends
			return err
		}
		return p.recordFailure(ctx, id, row.Failures, err)
	}
	p.published.Add(1)
	return p.recordSuccess(ctx, id, row, content)
}

// finishTimeout is how long an attempt may go on when the process ends, so that it leaves
// no state half written.
const finishTimeout = 3 * time.Second

// finishSoon returns the context of one attempt.
func finishSoon(ctx context.Context) (context.Context, context.CancelFunc) {
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-attempt.Done():
		case <-time.After(finishTimeout):
			cancel()
		}
	})
	return attempt, func() {
		stop()
		cancel()
	}
}

// renderError is a failure of this service, not of the store.
type renderError struct{ error }

func (e renderError) Unwrap() error { return e.error }

// put renders a tenant and puts it into the store; a deleted one is removed.
func (p *Publisher) put(ctx context.Context, id uuid.UUID, row publication) (content *Content, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.cfg.Log.Error("panic while a tenant was published", "tenant_id", id, "at", callstack.OfPanic())
			err = renderError{errPanic}
		}
	}()
	at := Order{Epoch: row.currentEpoch, TenantID: id, Version: row.AuditSeq}
	if row.Status != string(tenant.Deleted) {
		c, err := p.cfg.Render(ctx, id, row.Slug, row.AuditSeq)
		if err != nil {
			return nil, renderError{err}
		}
		at.Version = c.Version
		return &c, p.cfg.Store.Put(ctx, row.Slug, at, c.Objects)
	}
	var gone []Object
	for _, path := range p.cfg.Paths(row.Slug) {
		gone = append(gone, Object{Path: path})
	}
	err = p.cfg.Store.Put(ctx, row.Slug, at, gone)
	if errors.Is(err, ErrSuperseded) { // the slug belongs to another tenant now
		err = nil
	}
	return nil, err
}

// recordSuccess records a published state; a tenant that is removed needs no row.
func (p *Publisher) recordSuccess(ctx context.Context, id uuid.UUID, row publication, content *Content) error {
	target, now := p.cfg.Store.Target(), p.cfg.Now()
	return p.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		if content == nil {
			return tx.ForgetPublished(ctx, id, target)
		}
		return tx.RecordPublished(ctx, db.RecordPublishedParams{
			TenantID: id, Target: target, Epoch: row.currentEpoch, Version: content.Version, FeedXID: row.FeedXID, PublishedAt: now,
			DueAt: keys.Later(content.RefreshAt, now.Add(minRefresh)),
		})
	})
}

// recordFailure records why a tenant is not published, and when it is tried again: after
// a wait that doubles from minRetry to maxRetry, half of it at random.
func (p *Publisher) recordFailure(ctx context.Context, id uuid.UUID, before int32, cause error) error {
	p.failures.Add(1)
	wait := min(minRetry<<min(before, 10), maxRetry)
	wait = wait/2 + rand.N(wait/2+1) // #nosec G404 -- spreads attempts
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	now := p.cfg.Now()
	p.cfg.Log.Warn("tenant not published; will be retried", "target", p.cfg.Store.Target(), "tenant_id", id, "retry_in", wait, "error", cause)
	return p.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		return tx.RecordUnpublished(ctx, db.RecordUnpublishedParams{
			TenantID: id, Target: p.cfg.Store.Target(), FailedAt: now, DueAt: now.Add(wait), Error: ShortenError(cause),
		})
	})
}

const maxErrorText = 300 // characters, as a CHECK has it

// ShortenError returns the text of an error as a row about a store can have it, whatever
// bytes the store has answered.
func ShortenError(err error) string {
	text := audit.StorableText(err.Error())
	if runes := []rune(text); len(runes) > maxErrorText {
		return string(runes[:maxErrorText-1]) + "…"
	}
	return text
}
