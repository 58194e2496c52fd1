package moves

import (
	"errors"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

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
