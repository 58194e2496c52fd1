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
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// Done sums up the due work that was done.
type Done struct {
	Tenants int       // processed
	Rotated int       // standby keys that became active
	Created int       // new keys
	Expired int       // keys that left the JWKS
	Purged  int       // keys whose public part was erased
	Failed  int       // tenants postponed after an error
	Next    time.Time // when the next work is due; zero: never
}

// RunDue does the due work of at most limit policies, in batches of Config.DueBatch
// tenants, Config.DueParallel at a time: while PostgreSQL writes one batch, keys for
// another are generated. While the process serves many requests (Config.Requests), it
// yields to them, until a policy is late: see [throttle]. Each batch takes these steps:
//
// 1. read and plan the due work, without locks 2. generate and seal the keys that the
// plans need, outside any transaction 3. in one transaction: lock the tenants that no
// other transaction has locked, read and plan those again that have changed, and apply
// the plans 4. discard the keys that are not needed
//
// No two batches share a tenant. Two workers at once share the work or do it in vain,
// but cannot damage it. After a crash before the commit the batch is still due; an error
// has the same effect and stops the other batches.
func (s *Store) RunDue(ctx context.Context, by audit.By, limit int) (Done, error) {
	at := s.currentTime()
	due, err := s.dueTenants(ctx, at, limit)
	if err != nil {
		return Done{}, err
	}
	if len(due) == 0 {
		next, err := s.nextDue(ctx)
		return Done{Next: next}, err
	}
	done, err := s.runBatches(ctx, by, at, due)
	if err != nil {
		return Done{}, err
	}
	done.Next, err = s.nextDue(ctx)
	return done, err
}

// runBatches runs up to DueParallel batches at once. A batch that yields to requests
// runs alone and then pauses as long as it took.
func (s *Store) runBatches(ctx context.Context, by audit.By, at time.Time, due []dueTenant) (sum Done, err error) {
	var mu sync.Mutex
	all := int64(s.cfg.DueParallel)
	slots := semaphore.NewWeighted(all)
	group, working := errgroup.WithContext(ctx)
	for len(due) > 0 && slots.Acquire(working, 1) == nil {
		size, taken, yield := s.cfg.DueBatch, int64(1), s.shouldYield(due[0].lateAfter)
		if yield {
			if slots.Acquire(working, all-1) != nil {
				break
			}
			size, taken = min(yieldBatch, size), all
		}
		var tenants []uuid.UUID
		for ; len(due) > 0 && len(tenants) < size; due = due[1:] {
			tenants = append(tenants, due[0].id)
		}
		group.Go(func() error {
			defer slots.Release(taken)
			done, busy, err := s.runBatch(working, by, at, tenants, yield)
			mu.Lock()
			sum.Add(done)
			mu.Unlock()
			if yield && err == nil {
				s.pause(working, busy)
			}
			return err
		})
	}
	return sum, cmp.Or(group.Wait(), ctx.Err())
}

// runBatch does the due work of some tenants. busy is the time that the database needed.
func (s *Store) runBatch(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID, yield bool) (done Done, busy time.Duration, err error) {
	began := time.Now()
	w, err := s.prepareBatch(ctx, by, at, tenants, yield)
	if err != nil {
		return Done{}, 0, err
	}
	done, err = s.commitBatch(ctx, by, w, w.tenants)
	return done, time.Since(began) - w.generateTime, err
}

// Backlog counts the due policies, up to 10,000.
func (s *Store) Backlog(ctx context.Context) (n int64, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.CountDuePolicies(ctx, s.currentTime())
		return err
	})
	return n, err
}

// dueTenant is a tenant with due policies.
type dueTenant struct {
	id        uuid.UUID
	lateAfter time.Time // when the first policy of it, or of one behind it in the list, is late
}

// dueTenants lists the tenants with due policies, each once, in the order of their ids.
func (s *Store) dueTenants(ctx context.Context, at time.Time, limit int) (list []dueTenant, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.DuePolicies(ctx, at, int32(limit))
		list = nil // the transaction may run twice
		for _, row := range rows {
			list = append(list, dueTenant{row.TenantID, row.DueAt.Add(lateness(time.Duration(row.RotationIntervalSeconds) * time.Second))})
		}
		return err
	})
	slices.SortFunc(list, func(a, b dueTenant) int { return cmp.Or(compareUUIDs(a.id, b.id), a.lateAfter.Compare(b.lateAfter)) })
	list = slices.CompactFunc(list, func(a, b dueTenant) bool { return a.id == b.id })
	for i := len(list) - 2; i >= 0; i-- {
		if behind := list[i+1].lateAfter; behind.Before(list[i].lateAfter) {
			list[i].lateAfter = behind
		}
	}
	return list, err
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

// postponeFor is how long a tenant is skipped whose work failed: long enough not to
// starve the others, short enough to recover by itself.
const postponeFor = time.Minute

// policyRef identifies one policy of one tenant.
type policyRef struct {
	tenantID uuid.UUID
	alg      jose.SignatureAlgorithm
}

// batch is a group of tenants and the keys generated for them outside of locks.
type batch struct {
	at           time.Time
	tenants      []uuid.UUID
	ledgers      map[uuid.UUID]*ledger // as read without locks
	sealers      map[uuid.UUID]custody.Sealer
	candidates   map[policyRef]candidate
	limited      map[policyRef]time.Duration                                            // policies whose tenant has had its share of keys, and for how long
	adoption     adoptionByTenant                                                       // as read without locks
	waiting      func(tenantID uuid.UUID, s keys.Schedule, kid string, until time.Time) // told of rotations that wait for verifiers
	generateTime time.Duration                                                          // time spent generating candidates
	send         sendFunc
}

// prepareBatch plans without locks and generates the keys that the plans need, on one
// core if it yields to requests.
func (s *Store) prepareBatch(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID, yield bool) (*batch, error) {
	ledgers, err := s.readTenants(ctx, by, at, tenants)
	if err != nil {
		return nil, err
	}
	w := &batch{at: at, tenants: tenants, ledgers: make(map[uuid.UUID]*ledger, len(ledgers)), candidates: map[policyRef]candidate{}, limited: map[policyRef]time.Duration{}, send: sendPipelined, waiting: s.logWaiting}
	if yield {
		w.send = sendEach
	}
	if w.adoption, err = s.adoptionOf(ctx, at, tenants); err != nil {
		return nil, err
	}
	for _, l := range ledgers {
		l.adoption = w.adoption[l.tenant.ID]
		w.ledgers[l.tenant.ID] = l
	}
	if w.sealers, err = s.cfg.Custody.Sealers(ctx, tenants...); err != nil {
		return nil, err
	}
	began := time.Now()
	err = s.makeCandidates(ctx, w, ledgers, yield)
	w.generateTime = time.Since(began)
	return w, err
}

// makeCandidates generates the keys that the plans need: RSA keys on all cores unless
// the batch yields to requests, others, which take microseconds, on one. While all cores
// are busy, a request waits for the scheduler's next preemption, which takes
// milliseconds.
func (s *Store) makeCandidates(ctx context.Context, w *batch, ledgers []*ledger, yield bool) error {
	var (
		names    []policyRef
		policies []tenant.Policy
	)
	for _, l := range ledgers {
		if l.refused != nil {
			continue
		}
		for _, p := range l.policies {
			if steps, _ := keys.Plan(l.at, l.scheduleOf(p), l.keysOf(p.Alg)); wantsKey(steps) {
				if wait := s.cfg.Generator.Wait(l.tenant.ID, p.Alg, 1); wait > 0 {
					w.limited[policyRef{l.tenant.ID, p.Alg}] = wait
					continue
				}
				names, policies = append(names, policyRef{l.tenant.ID, p.Alg}), append(policies, p)
			}
		}
	}
	candidates, errs := make([]candidate, len(names)), make([]error, len(names))
	var slow []int
	for i, p := range policies {
		if keys.KeyType(p.Alg) == "RSA" && !yield {
			slow = append(slow, i)
			continue
		}
		candidates[i], errs[i] = s.cfg.Generator.newCandidate(ctx, names[i].tenantID, p)
	}
	var cores errgroup.Group
	cores.SetLimit(runtime.GOMAXPROCS(0))
	for _, i := range slow {
		cores.Go(func() error {
			candidates[i], errs[i] = s.cfg.Generator.newCandidate(ctx, names[i].tenantID, policies[i])
			return errs[i]
		})
	}
	_ = cores.Wait() // errs holds all errors
	for i, name := range names {
		w.candidates[name] = candidates[i]
	}
	return errors.Join(errs...)
}

// wantsKey reports whether a plan needs a new key.
func wantsKey(steps []keys.Step) bool {
	for _, step := range steps {
		if step.Kind == keys.CreateStandby {
			return true
		}
	}
	return false
}

// commitBatch applies the plans in one transaction. If the database rejects it, one
// tenant must be damaged: then each tenant gets its own transaction, and the damaged one
// is postponed. A batch that takes longer than its time of effect allows is halved.
func (s *Store) commitBatch(ctx context.Context, by audit.By, w *batch, tenants []uuid.UUID) (done Done, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		done = Done{} // the transaction may run twice
		ledgers, err := s.lockIdleTenants(ctx, tx, by, w, tenants)
		if err != nil {
			return err
		}
		for _, l := range ledgers {
			if err := w.applyPlan(l, &done); err != nil {
				return err
			}
		}
		return sendLedgers(ctx, w.send, tx, ledgers)
	})
	switch {
	case err == nil:
		done.Tenants = len(tenants)
		return done, nil
	case db.Constraint(err) == db.TimeOfEffect && len(tenants) > 1 && ctx.Err() == nil:
		return s.commitHalves(ctx, by, w, tenants)
	case errors.Is(err, ErrUnavailable) || ctx.Err() != nil:
		return Done{}, err
	case len(tenants) > 1:
		return s.commitEach(ctx, by, w)
	}
	s.cfg.Log.Error("due work of a tenant failed", "tenant_id", tenants[0], "error", err)
	return Done{Tenants: 1, Failed: 1}, s.postpone(ctx, w.at, tenants[0])
}

// commitHalves commits each half of the tenants of a batch in its own transaction.
func (s *Store) commitHalves(ctx context.Context, by audit.By, w *batch, tenants []uuid.UUID) (sum Done, err error) {
	half := len(tenants) / 2
	for _, part := range [][]uuid.UUID{tenants[:half], tenants[half:]} {
		done, err := s.commitBatch(ctx, by, w, part)
		if err != nil {
			return Done{}, err
		}
		sum.Add(done)
	}
	return sum, nil
}

// commitEach commits each tenant of a batch in its own transaction.
func (s *Store) commitEach(ctx context.Context, by audit.By, w *batch) (sum Done, err error) {
	for _, id := range w.tenants {
		done, err := s.commitBatch(ctx, by, w, []uuid.UUID{id})
		if err != nil {
			return Done{}, err
		}
		sum.Add(done)
	}
	return sum, nil
}

// IsIdle reports whether no key was moved and no tenant failed.
func (d Done) IsIdle() bool { return d.Rotated+d.Created+d.Expired+d.Purged+d.Failed == 0 }

// Add adds what another pass did; Next stays.
func (d *Done) Add(o Done) {
	d.Tenants, d.Rotated, d.Created = d.Tenants+o.Tenants, d.Rotated+o.Rotated, d.Created+o.Created
	d.Expired, d.Purged, d.Failed = d.Expired+o.Expired, d.Purged+o.Purged, d.Failed+o.Failed
}

// postpone delays the due work of a tenant by postponeFor.
func (s *Store) postpone(ctx context.Context, at time.Time, tenantID uuid.UUID) error {
	return s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		if err := tx.CheckClock(); err != nil {
			return err
		}
		policies, err := tx.ListPolicies(ctx, tenantID)
		if err != nil {
			return err
		}
		var due dueParams
		for _, p := range policies {
			if p.DueAt != nil && !p.DueAt.After(at) {
				due.add(tenantID, p.Alg, at.Add(postponeFor))
			}
		}
		return tx.SetPoliciesDue(ctx, due.tenantIDs, due.algs, due.ats)
	})
}

func (d *Done) countStep(step keys.Step) {
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

// shouldYield reports whether the next batch yields to requests, which none does after
// lateAfter.
func (s *Store) shouldYield(lateAfter time.Time) bool {
	return s.cfg.Requests != nil && s.throttle.shouldYield(s.cfg.Requests()) && !s.currentTime().After(lateAfter)
}

// applyPlan applies the plans of all policies of one tenant. A tenant whose rows are
// not believed is postponed.
func (b *batch) applyPlan(l *ledger, done *Done) error {
	for _, p := range l.policies {
		if l.refused != nil { // logged when it was refused; such rows decide nothing
			l.due[p.Alg] = l.at.Add(postponeFor)
			continue
		}
		schedule := l.scheduleOf(p)
		steps, _ := keys.Plan(l.at, schedule, l.keysOf(p.Alg))
		c, generated := b.candidates[policyRef{l.tenant.ID, p.Alg}]
		sealer, opened := b.sealers[l.tenant.ID]
		if wantsKey(steps) && !(generated && opened) {
			// The tenant changed after it was planned (plan it again at once), or its
			// data key cannot be opened (retry later): a standby that cannot be replaced
			// is not activated.
			l.due[p.Alg] = l.at.Add(postponeFor)
			if opened {
				l.due[p.Alg] = l.at.Add(b.limited[policyRef{l.tenant.ID, p.Alg}])
			}
			continue
		}
		for _, step := range steps {
			if err := l.applyStep(step, schedule, c, sealer); err != nil {
				return err
			}
			done.countStep(step)
		}
		if until, waits := schedule.WaitsForAdoption(l.at, l.keysOf(p.Alg)); waits {
			kid := l.keyInState(p.Alg, keys.Standby).KID
			l.addWaitingEvent(schedule, kid, until)
			b.waiting(l.tenant.ID, schedule, kid, until)
		}
		l.reschedule(p)
	}
	return nil
}
