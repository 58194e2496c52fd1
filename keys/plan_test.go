package keys

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// schedule is the default policy without jitter.
func schedule() Schedule {
	return Schedule{
		Policy: tenant.Policy{
			Alg: "ES256", RotationInterval: 30 * day, PublishLead: day, GracePeriod: 7 * day,
			PurgeAfter: 90 * day, DefaultTokenTTL: 15 * time.Minute, MaxTokenTTL: day, MaxPublishedKeys: 16,
		},
		ClockSkew: time.Minute,
	}
}

func with(change func(*Schedule)) Schedule {
	s := schedule()
	change(&s)
	return s
}

func standby(kid string, published time.Time) Key {
	return Key{KID: kid, State: Standby, Origin: Generated, CreatedAt: published, PublishedAt: published}
}

func active(kid string, activated time.Time) Key {
	k := standby(kid, activated)
	k.State, k.ActivatedAt = Active, &activated
	return k
}

func deprecated(s Schedule, kid string, at time.Time) Key {
	k := active(kid, at.Add(-day))
	expires := s.ExpiresAt(at, k)
	k.State, k.DeprecatedAt, k.ExpiresAt = Deprecated, &at, &expires
	return k
}

func revoked(kid string, at time.Time) Key {
	k := active(kid, at.Add(-day))
	k.State, k.RevokedAt = Revoked, &at
	return k
}

func expired(s Schedule, kid string, at time.Time) Key {
	k := deprecated(s, kid, at.Add(-s.GracePeriod))
	k.State, k.ExpiredAt = Expired, &at
	return k
}

func TestPlan(t *testing.T) {
	s := schedule()
	crowded := with(func(s *Schedule) { s.MaxPublishedKeys = 4; s.GracePeriod = 100 * day })
	retired := with(func(s *Schedule) { s.RetiredAt = &t0 })
	byHand := with(func(s *Schedule) { s.RotationInterval = 0 })
	jittered := with(func(s *Schedule) { s.Jitter = hour })
	due := t0.Add(30 * day)
	old := time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC)

	for name, c := range map[string]struct {
		s     Schedule
		now   time.Time
		keys  []Key
		steps []Step
		next  time.Time
	}{
		"nothing at all": {s, t0, nil, []Step{{Kind: CreateStandby}}, t0.Add(day)},
		"nothing at all, retired": {
			retired, t0, nil, nil, time.Time{},
		},
		"not due": {s, t0, []Key{active("a", t0), standby("s", t0)}, nil, due},
		"a microsecond early": {
			s, due.Add(-time.Microsecond),
			[]Key{active("a", t0), standby("s", t0)},
			nil, due,
		},
		"due": {
			s, due,
			[]Key{active("a", t0), standby("s", t0)},
			[]Step{{Promote, "s"}, {Kind: CreateStandby}},
			due.Add(7 * day),
		},
		"jitter": {jittered, due, []Key{active("a", t0), standby("s", t0)}, nil, due.Add(hour)},
		"no standby": {
			s, due,
			[]Key{active("a", t0)},
			[]Step{{Kind: CreateStandby}},
			due.Add(day),
		},
		"standby not seen long enough": {
			s, due,
			[]Key{active("a", t0), standby("s", due.Add(-hour))},
			nil, due.Add(23 * hour),
		},
		"by hand only": {byHand, due, []Key{active("a", t0), standby("s", t0)}, nil, time.Time{}},
		"no active key, lead over": {
			byHand, t0.Add(day),
			[]Key{standby("s", t0)},
			[]Step{{Promote, "s"}, {Kind: CreateStandby}},
			time.Time{},
		},
		"no active key, lead not over": {s, t0.Add(hour), []Key{standby("s", t0)}, nil, t0.Add(day)},
		"expiry": {
			byHand, t0.Add(7 * day),
			[]Key{active("a", t0), standby("s", t0), deprecated(s, "d", t0)},
			[]Step{{Expire, "d"}},
			t0.Add(97 * day),
		},
		"purge": {
			byHand, t0.Add(90 * day),
			[]Key{active("a", t0), standby("s", t0), revoked("r", t0), expired(s, "e", t0.Add(hour))},
			[]Step{{Purge, "r"}},
			t0.Add(90*day + hour),
		},
		"retired runs out": {
			retired, t0.Add(7 * day),
			[]Key{deprecated(s, "d", t0), deprecated(s, "later", t0.Add(day)), revoked("s", t0)},
			[]Step{{Expire, "d"}},
			t0.Add(8 * day),
		},
		"all at once, in a safe order": {
			s, due,
			[]Key{active("a", t0), standby("s", t0), deprecated(s, "d", t0), expired(s, "e", due.Add(-90*day))},
			[]Step{{Expire, "d"}, {Purge, "e"}, {Promote, "s"}, {Kind: CreateStandby}},
			due.Add(7 * day),
		},
		"no room, the oldest goes early": {
			crowded, due,
			[]Key{active("a", t0), standby("s", t0), deprecated(crowded, "d2", t0), deprecated(crowded, "d1", old)},
			[]Step{{Expire, "d1"}, {Promote, "s"}, {Kind: CreateStandby}},
			due.Add(30 * day),
		},
		"no room, tokens may live: the rotation waits": {
			crowded, due,
			[]Key{active("a", t0), standby("s", t0), deprecated(crowded, "d1", due.Add(-hour)), deprecated(crowded, "d2", due.Add(-hour/2))},
			nil, due.Add(23*hour + time.Minute + SigningTail),
		},
		"over the cap by hand: the oldest go as soon as they can": {
			crowded, due,
			[]Key{
				active("a", due), standby("s", due), deprecated(crowded, "d1", t0),
				deprecated(crowded, "d2", due.Add(-hour)), deprecated(crowded, "d3", due),
			},
			[]Step{{Expire, "d1"}},
			due.Add(30 * day),
		},
		"a cap that never has room": {
			with(func(s *Schedule) { s.MaxPublishedKeys = 2 }), due,
			[]Key{active("a", t0), standby("s", t0)},
			nil,
			time.Time{},
		},
		"purged keys are nothing": {
			retired, due,
			[]Key{{KID: "p", State: Purged}},
			nil,
			time.Time{},
		},
	} {
		steps, next := Plan(c.now, c.s, c.keys)
		if !reflect.DeepEqual(steps, c.steps) || !next.Equal(c.next) {
			t.Errorf("%s:\n got %v, next %v\nwant %v, next %v", name, steps, next, c.steps, c.next)
		}
	}
}

func TestPlanLeavesItsInputAlone(t *testing.T) {
	s := schedule()
	now := t0.Add(30 * day)
	keys := []Key{active("a", t0), standby("s", t0), deprecated(s, "d2", t0.Add(time.Second)), deprecated(s, "d1", t0)}
	before := append([]Key(nil), keys...)
	if steps, _ := Plan(now, s, keys); len(steps) != 4 {
		t.Fatalf("%d steps", len(steps))
	}
	if !reflect.DeepEqual(keys, before) {
		t.Error("the keys were changed")
	}
}

func TestNoRoomBecauseOfAForeignKey(t *testing.T) {
	s := with(func(s *Schedule) { s.MaxPublishedKeys = 3; s.RotationInterval = 2 * day })
	foreign := deprecated(s, "foreign", t0.Add(-300*day))
	end := t0.Add(50 * day)
	foreign.Origin, foreign.ActivatedAt, foreign.ExpiresAt = Imported, nil, &end
	keys := []Key{active("a", t0), standby("s", t0), foreign}
	if steps, next := Plan(t0.Add(40*day), s, keys); steps != nil || !next.Equal(end) {
		t.Errorf("got %v, next %v: the tokens of a foreign key may live as long as it is published", steps, next)
	}
	if at := s.SafeToRetireAt(foreign); at == nil || !at.Equal(end) {
		t.Errorf("safe to retire at %v, want %v", at, end)
	}
}

func TestTheHorizonHoldsAKey(t *testing.T) {
	s := with(func(s *Schedule) { s.GracePeriod = 2 * hour; s.MaxTokenTTL = hour; s.MaxPublishedKeys = 3 })
	horizon := t0.Add(5 * hour)
	k := active("a", t0)
	k.TokenHorizon = &horizon
	if got, want := s.ExpiresAt(t0, k), horizon; !got.Equal(want) {
		t.Errorf("expires at %v, want %v", got, want)
	}
	if got, want := s.ExpiresAt(t0.Add(4*hour), k), t0.Add(6*hour); !got.Equal(want) {
		t.Errorf("expires at %v, want %v", got, want)
	}
	at := s.ExpiresAt(t0, k)
	k.State, k.DeprecatedAt, k.ExpiresAt = Deprecated, &t0, &at
	if got, want := s.SafeToRetireAt(k), horizon; got == nil || !got.Equal(want) {
		t.Errorf("safe to retire at %v, want %v", got, want)
	}
}

func TestSafeToRetireAt(t *testing.T) {
	s := schedule()
	imported := standby("i", t0)
	imported.Origin = Imported
	for _, c := range []struct {
		k    Key
		want time.Time
	}{
		{standby("s", t0), t0},
		{imported, time.Time{}},
		{active("a", t0), time.Time{}},
		{deprecated(s, "d", t0), t0.Add(day + time.Minute + SigningTail)},
		{expired(s, "e", t0), time.Time{}},
		{revoked("r", t0), time.Time{}},
	} {
		got := s.SafeToRetireAt(c.k)
		if (got == nil) != c.want.IsZero() || got != nil && !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", c.k.KID, got, c.want)
		}
	}
	long := with(func(s *Schedule) { s.MaxTokenTTL = 30 * day })
	if got := long.SafeToRetireAt(deprecated(s, "d", t0)); !got.Equal(t0.Add(7 * day)) {
		t.Errorf("a lifetime raised afterwards moved it to %v", got)
	}
}

func TestNextTransition(t *testing.T) {
	s := with(func(s *Schedule) { s.MaxPublishedKeys = 4; s.GracePeriod = 100 * day })
	keys := []Key{
		active("a", t0), standby("s", t0), deprecated(s, "d1", t0.Add(-9*day)), deprecated(s, "d2", t0),
		expired(s, "e", t0), revoked("r", t0),
		{KID: "p", State: Purged},
	}
	want := map[string]time.Time{
		"a": t0.Add(30 * day), "s": t0.Add(30 * day), "d1": t0.Add(30 * day), "d2": t0.Add(100 * day),
		"e": t0.Add(90 * day), "r": t0.Add(90 * day), "p": {},
	}
	for _, k := range keys {
		got := s.NextTransition(t0, k, keys)
		if at := want[k.KID]; (got == nil) != at.IsZero() || got != nil && !got.Equal(at) {
			t.Errorf("%s: %v, want %v", k.KID, got, at)
		}
	}
	s.RotationInterval = 0
	if got := s.NextTransition(t0, keys[0], keys); got != nil {
		t.Errorf("rotated by hand only, but due %v", got)
	}
}

func TestJitter(t *testing.T) {
	var most time.Duration
	for range 1000 {
		id := uuid.New()
		j := Jitter(id, "ES256", 30*day, 0.05)
		if j != Jitter(id, "ES256", 30*day, 0.05) {
			t.Fatal("not deterministic")
		}
		if j < 0 || j > 36*hour || j%time.Microsecond != 0 {
			t.Fatalf("jitter %v", j)
		}
		most = max(most, j)
	}
	if most < 30*hour {
		t.Errorf("of 1000 tenants none later than %v: not spread", most)
	}
	if a, b := Jitter(uuid.Nil, "ES256", day, 1), Jitter(uuid.Nil, "RS256", day, 1); a == b {
		t.Error("two policies of a tenant rotate together")
	}
	for _, zero := range []time.Duration{Jitter(uuid.New(), "ES256", 0, 0.05), Jitter(uuid.New(), "ES256", day, 0), Jitter(uuid.New(), "ES256", day, -1)} {
		if zero != 0 {
			t.Errorf("jitter %v, want 0", zero)
		}
	}
}
