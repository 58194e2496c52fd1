package moves

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Done says what was done of the work that was due.
type Done struct {
	Tenants int       // looked at
	Rotated int       // standby keys that became active
	Created int       // keys that entered
	Expired int       // keys that left the JWKS
	Purged  int       // keys whose public part was forgotten
	Failed  int       // tenants put off because they cannot be done now
	Next    time.Time // when to look again; zero: nothing is planned
}

// RunDue does what is due for at most limit policies, in batches of
// Config.DueBatch tenants, of which Config.DueParallel are under way at a time:
// while PostgreSQL writes one, the keys of another are made. While many
// ask (Config.Asked), batches are small and far between. Each takes the steps
//
//  1. read what is due and plan it, without locks
//  2. make and seal the keys the plan wants, outside any transaction
//  3. in one transaction: lock the tenants nobody else has in hand, read and
//     plan again where they have changed, do what is still wanted
//  4. throw away the keys that are not
//
// No two batches have a tenant in common. Two workers at once share the work or
// waste it, they cannot spoil it. A crash before a commit leaves that batch due;
// so does an error, which ends the others where they are.
func (s *Store) RunDue(ctx context.Context, by audit.By, limit int) (Done, error) {
	at := s.now()
	due, err := s.due(ctx, at, limit)
	if err != nil {
		return Done{}, err
	}
	if len(due) == 0 {
		next, err := s.nextDue(ctx)
		return Done{Next: next}, err
	}
	done, err := s.inBatches(ctx, by, at, due)
	if err != nil {
		return Done{}, err
	}
	done.Next, err = s.nextDue(ctx)
	return done, err
}

// inBatches has as many lanes as batches may be under way. One that makes way for
// requests takes them all, until it has rested.
func (s *Store) inBatches(ctx context.Context, by audit.By, at time.Time, due []uuid.UUID) (sum Done, err error) {
	var mu sync.Mutex
	all := int64(s.cfg.DueParallel)
	lanes := semaphore.NewWeighted(all)
	group, working := errgroup.WithContext(ctx)
	for len(due) > 0 && lanes.Acquire(working, 1) == nil {
		size, taken, way := s.cfg.DueBatch, int64(1), s.makeWay()
		if way {
			if lanes.Acquire(working, all-1) != nil {
				break
			}
			size, taken = min(wayBatch, size), all
		}
		tenants := due[:min(size, len(due))]
		due = due[len(tenants):]
		group.Go(func() error {
			defer lanes.Release(taken)
			done, busy, err := s.batch(working, by, at, tenants, way)
			mu.Lock()
			sum.add(done)
			mu.Unlock()
			if way && err == nil {
				s.rest(working, busy)
			}
			return err
		})
	}
	return sum, cmp.Or(group.Wait(), ctx.Err())
}

// batch does what is due for some tenants, and says for how long that kept the
// database busy.
func (s *Store) batch(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID, way bool) (done Done, busy time.Duration, err error) {
	began := time.Now()
	w, err := s.prepare(ctx, by, at, tenants, way)
	if err != nil {
		return Done{}, 0, err
	}
	done, err = s.settle(ctx, by, w, w.tenants)
	return done, time.Since(began) - w.making, err
}

// Backlog counts the policies that are due and not done, up to 10,000.
func (s *Store) Backlog(ctx context.Context) (n int64, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.CountDuePolicies(ctx, s.now())
		return err
	})
	return n, err
}

// due lists the tenants with due policies, each once.
func (s *Store) due(ctx context.Context, at time.Time, limit int) (ids []uuid.UUID, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.DuePolicies(ctx, at, int32(limit))
		for _, row := range rows {
			ids = append(ids, row.TenantID)
		}
		return err
	})
	slices.SortFunc(ids, compareUUIDs)
	return slices.Compact(ids), err
}

func compareUUIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }

func (s *Store) nextDue(ctx context.Context) (next time.Time, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		at, err := tx.NextDueAt(ctx)
		if at != nil {
			next = at.UTC()
		}
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		return err
	})
	return next, err
}

// retryAfter is how long a tenant is left alone whose work cannot be done:
// long enough not to crowd out the others, short enough to heal by itself.
const retryAfter = time.Minute

// policyName names one policy of one tenant.
type policyName struct {
	tenantID uuid.UUID
	alg      jose.SignatureAlgorithm
}

// work is a batch of tenants and what was made for it outside of locks.
type work struct {
	at         time.Time
	tenants    []uuid.UUID
	seen       map[uuid.UUID]*ledger // as they were then
	sealers    map[uuid.UUID]custody.Sealer
	candidates map[policyName]candidate
	making     time.Duration // of the candidates
	send       send
}

// prepare plans without locks and makes the keys that the plans want, on one core
// if it is to make way for requests.
func (s *Store) prepare(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID, way bool) (*work, error) {
	ledgers, err := s.peek(ctx, by, at, tenants)
	if err != nil {
		return nil, err
	}
	w := &work{at: at, tenants: tenants, seen: make(map[uuid.UUID]*ledger, len(ledgers)), candidates: map[policyName]candidate{}, send: atOnce}
	if way {
		w.send = oneByOne
	}
	for _, l := range ledgers {
		w.seen[l.tenant.ID] = l
	}
	if w.sealers, err = s.cfg.Custody.Sealers(ctx, tenants...); err != nil {
		return nil, err
	}
	began := time.Now()
	err = s.makeCandidates(ctx, w, ledgers, way)
	w.making = time.Since(began)
	return w, err
}

// makeCandidates makes the keys that the plans want: those of RSA on all cores
// unless it makes way, others, which take microseconds, on one. A process whose
// cores are all at work hears of a request only when the scheduler next looks,
// which takes milliseconds.
func (s *Store) makeCandidates(ctx context.Context, w *work, ledgers []*ledger, way bool) error {
	var (
		names    []policyName
		policies []tenant.Policy
	)
	for _, l := range ledgers {
		for _, p := range l.policies {
			if steps, _ := keys.Plan(l.at, l.schedule(p), l.of(p.Alg)); wantsKey(steps) {
				names, policies = append(names, policyName{l.tenant.ID, p.Alg}), append(policies, p)
			}
		}
	}
	made, errs := make([]candidate, len(names)), make([]error, len(names))
	var slow []int
	for i, p := range policies {
		if keys.KeyType(p.Alg) == "RSA" && !way {
			slow = append(slow, i)
			continue
		}
		made[i], errs[i] = s.candidate(ctx, p)
	}
	var cores errgroup.Group
	cores.SetLimit(runtime.GOMAXPROCS(0))
	for _, i := range slow {
		cores.Go(func() error {
			made[i], errs[i] = s.candidate(ctx, policies[i])
			return errs[i]
		})
	}
	_ = cores.Wait() // errs has them all
	for i, name := range names {
		w.candidates[name] = made[i]
	}
	return errors.Join(errs...)
}

// peek reads tenants without locking them.
func (s *Store) peek(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID) (ledgers []*ledger, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.GetTenants(ctx, tenants)
		if err != nil {
			return err
		}
		for _, row := range rows {
			ledgers = append(ledgers, s.ledger(tenant.TenantRow(row), by, at))
		}
		return s.read(ctx, tx, ledgers...)
	})
	return ledgers, err
}

func wantsKey(steps []keys.Step) bool {
	for _, step := range steps {
		if step.Kind == keys.CreateStandby {
			return true
		}
	}
	return false
}

// settle does the batch in one transaction. If the database refuses it, one
// tenant must be damaged: then each is done alone and the damaged one put off.
func (s *Store) settle(ctx context.Context, by audit.By, w *work, tenants []uuid.UUID) (done Done, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		ledgers, err := s.openIdle(ctx, tx, by, w, tenants)
		if err != nil {
			return err
		}
		for _, l := range ledgers {
			if err := s.follow(l, w, &done); err != nil {
				return err
			}
		}
		return writeBy(ctx, w.send, tx, ledgers)
	})
	switch {
	case err == nil:
		done.Tenants = len(tenants)
		return done, nil
	case errors.Is(err, ErrUnavailable) || ctx.Err() != nil:
		return Done{}, err
	case len(tenants) > 1:
		return s.settleEach(ctx, by, w)
	}
	s.cfg.Log.Error("tenant cannot be brought up to date", "tenant_id", tenants[0], "error", err)
	return Done{Tenants: 1, Failed: 1}, s.putOff(ctx, w.at, tenants[0])
}

func (s *Store) settleEach(ctx context.Context, by audit.By, w *work) (sum Done, err error) {
	for _, id := range w.tenants {
		done, err := s.settle(ctx, by, w, []uuid.UUID{id})
		if err != nil {
			return Done{}, err
		}
		sum.add(done)
	}
	return sum, nil
}

func (d *Done) add(o Done) {
	d.Tenants, d.Rotated, d.Created = d.Tenants+o.Tenants, d.Rotated+o.Rotated, d.Created+o.Created
	d.Expired, d.Purged, d.Failed = d.Expired+o.Expired, d.Purged+o.Purged, d.Failed+o.Failed
}

// putOff makes the worker look at a tenant again after a while.
func (s *Store) putOff(ctx context.Context, at time.Time, tenantID uuid.UUID) error {
	return s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		policies, err := tx.ListPolicies(ctx, tenantID)
		if err != nil {
			return err
		}
		var due dueParams
		for _, p := range policies {
			if p.DueAt != nil && !p.DueAt.After(at) {
				due.add(tenantID, p.Alg, at.Add(retryAfter))
			}
		}
		return tx.SetPoliciesDue(ctx, due.tenantIDs, due.algs, due.ats)
	})
}

// follow takes the steps of every plan of one tenant.
func (s *Store) follow(l *ledger, w *work, done *Done) error {
	for _, p := range l.policies {
		schedule := l.schedule(p)
		steps, _ := keys.Plan(l.at, schedule, l.of(p.Alg))
		c, made := w.candidates[policyName{l.tenant.ID, p.Alg}]
		sealer, sealed := w.sealers[l.tenant.ID]
		if wantsKey(steps) && !(made && sealed) {
			// Somebody changed the tenant since it was planned, or its data key
			// does not open. Neither is a reason to sign with what may not work.
			l.due[p.Alg] = l.at.Add(retryAfter)
			if sealed {
				l.due[p.Alg] = l.at
			}
			continue
		}
		for _, step := range steps {
			if err := l.take(step, schedule, c, sealer); err != nil {
				return err
			}
			done.count(step)
		}
		l.reschedule(p)
	}
	return nil
}

func (l *ledger) take(step keys.Step, s keys.Schedule, c candidate, sealer custody.Sealer) error {
	switch step.Kind {
	case keys.Expire:
		return l.expire(l.find(step.KID))
	case keys.Purge:
		return l.purge(l.find(step.KID))
	case keys.Promote:
		return l.promote(s, keys.Scheduled)
	case keys.CreateStandby:
		_, err := l.enter(c, sealer, "")
		return err
	}
	return errors.New("keys: unknown step " + string(step.Kind))
}

// promote lets the standby take over from the active key.
func (l *ledger) promote(s keys.Schedule, how keys.Activation) error {
	if active := l.in(s.Alg, keys.Active); active != nil {
		if err := l.deprecate(active, s); err != nil {
			return err
		}
	}
	return l.activate(l.in(s.Alg, keys.Standby), how)
}

func (d *Done) count(step keys.Step) {
	switch step.Kind {
	case keys.Expire:
		d.Expired++
	case keys.Purge:
		d.Purged++
	case keys.Promote:
		d.Rotated++
	case keys.CreateStandby:
		d.Created++
	}
}

// live are the ledger's policies that sign.
func (l *ledger) live() (out []tenant.Policy) {
	for _, p := range l.policies {
		if p.RetiredAt == nil {
			out = append(out, p)
		}
	}
	return out
}

// While others ask, RunDue makes way: one transaction of a few tenants is under
// way instead of two of many, each of its statements makes a round trip of its
// own, keys of RSA are made one at a time, and after each transaction comes a rest
// as long as that took. Where PostgreSQL, the worker and what answers requests
// share cores, a request waits for what it finds running: a statement about a few
// tenants is soon over, a pipeline of them runs to its end.
const (
	wayBatch = 5
	// wayRate is how many requests a second are worth it. Fewer, such as those of
	// whoever watches the process, meet the worker seldom.
	wayRate = 10
	// waySpan is what the rate is taken over, at least.
	waySpan = time.Second
)

// manners are whether to make way, and since when they were thought about.
type manners struct {
	now func() time.Time // a clock that nobody sets

	mu    sync.Mutex
	since time.Time
	asked int64 // until then
	way   bool
}

// makeWay is told how many have asked by now, and says whether that is worth it.
func (m *manners) makeWay(asked int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if span := now.Sub(m.since); span >= waySpan || asked-m.asked >= wayRate {
		m.way = float64(asked-m.asked) >= wayRate*max(span, waySpan).Seconds()
		m.since, m.asked = now, asked
	}
	return m.way
}

func (s *Store) makeWay() bool { return s.cfg.Asked != nil && s.manners.makeWay(s.cfg.Asked()) }

// send is how statements go to PostgreSQL: in one round trip, or, from who makes
// way for requests, in as many as there are.
type send func(*db.Writes, context.Context) error

var (
	atOnce   send = (*db.Writes).Send
	oneByOne send = (*db.Writes).SendEach
)
