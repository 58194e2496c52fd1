package keys

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestAdoptionGate lets random policies that ask for adoption live for many rotations
// while verifiers come and go: no standby is promoted by the schedule before its lead,
// before enough verifiers have it unless the wait is over, or after the wait; there is
// always an active key, and the worker is woken in time.
func TestAdoptionGate(t *testing.T) {
	early, capped := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := schedule()
		s.RotationInterval = time.Duration(2+r.IntN(60)) * day
		s.PublishLead = min(s.RotationInterval, time.Duration(1+r.IntN(48))*hour)
		s.MinAdoption, s.MaxAdoptionWait = float64(1+r.IntN(100))/100, time.Duration(r.IntN(20*24))*hour
		now, born := t0, 2
		keys := []Key{active("k1", t0), standby("k2", t0)}
		share := 0.0
		for range 2500 {
			if r.IntN(200) == 0 {
				share = r.Float64() * 1.2 // most verifiers stay as they are for long
			}
			s.Adoption = new(share)
			if r.IntN(1000) == 0 {
				s.Adoption = nil // a tenant without verifiers
			}
			find := func(state State) *Key {
				for i := range keys {
					if keys[i].State == state {
						return &keys[i]
					}
				}
				return nil
			}
			steps, next := Plan(now, s, keys)
			if again, same := Plan(now, s, keys); len(again) != len(steps) || !same.Equal(next) {
				t.Fatalf("seed %d: planned twice: %v %v, %v %v", seed, steps, next, again, same)
			}
			wanted := Later(find(Active).ActivatedAt.Add(s.RotationInterval), find(Standby).PublishedAt.Add(s.PublishLead))
			limit := wanted.Add(s.MaxAdoptionWait)
			until, waits := s.WaitsForAdoption(now, keys)
			promoted := false
			for _, step := range steps {
				switch step.Kind {
				case Promote:
					promoted = true
					enough := s.Adoption == nil || *s.Adoption >= s.MinAdoption
					switch {
					case now.Before(wanted):
						t.Fatalf("seed %d: promoted before %v", seed, wanted)
					case !enough && now.Before(limit):
						t.Fatalf("seed %d: promoted with %v of %v at %v, before %v", seed, *s.Adoption, s.MinAdoption, now, limit)
					case enough && s.Adoption != nil:
						early++
					case !enough:
						capped++
					}
					k := find(Active)
					at := s.ExpiresAt(now, *k)
					k.State, k.DeprecatedAt, k.ExpiresAt = Deprecated, new(now), &at
					k = find(Standby)
					k.State, k.ActivatedAt = Active, new(now)
				case CreateStandby:
					born++
					keys = append(keys, standby(fmt.Sprint("k", born), now))
				case Expire:
					for i := range keys {
						if keys[i].KID == step.KID {
							keys[i].State, keys[i].ExpiredAt = Expired, new(now)
						}
					}
				case Purge:
					for i := range keys {
						if keys[i].KID == step.KID {
							keys[i].State = Purged
						}
					}
				}
			}
			if !promoted && !now.Before(limit) {
				t.Fatalf("seed %d: not promoted at %v, after the wait until %v", seed, now, limit)
			}
			if waits != (!promoted && !now.Before(wanted)) || waits && !until.Equal(limit) {
				t.Fatalf("seed %d: at %v, wanted %v: waits %t until %v", seed, now, wanted, waits, until)
			}
			if find(Active) == nil || find(Standby) == nil {
				t.Fatalf("seed %d: %v", seed, keys)
			}
			if !next.After(now) {
				t.Fatalf("seed %d: next is %v at %v", seed, next, now)
			}
			if promoted {
				share = 0
			}
			now = next // the worker sleeps until then, and is on time
		}
	}
	if early < 100 || capped < 100 {
		t.Errorf("%d promoted by adoption, %d by the end of the wait: the test sees one side only", early, capped)
	}
}
