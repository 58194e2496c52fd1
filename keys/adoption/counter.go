package adoption

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Limits of what is kept.
const (
	Sample = 256                   // verifiers of one tenant
	Window = tenant.VerifierWindow // how long a verifier counts after its last request

	maxClients   = 200_000          // in one process, of all tenants
	rewriteAfter = 10 * time.Minute // between writes of a verifier that goes on as before
	idleAfter    = 2 * time.Hour    // until a process drops a verifier
	shardCount   = 64
	maxAgent     = 200 // bytes of a user agent that count
	dayMicros    = int64(24 * time.Hour / time.Microsecond)
	earlierDays  = 3 // pseudonyms of that many days are replaced by today's
)

// Validator is what a request says about the set that the verifier has.
type Validator int

// The validators of a request (RFC 9110 section 13.1.2).
const (
	NoValidator Validator = iota // it sent none
	Current                      // it has the set that is in effect
	Outdated                     // it has another one
)

// Config configures a [Counter].
type Config struct {
	DB        *db.DB
	Authority *tenant.Authority // its key is that of the pseudonyms
	Now       func() time.Time
}

// Counter counts the verifiers that fetch JWK Sets, in bounded memory. A nil Counter
// counts nothing. It is safe for concurrent use.
type Counter struct {
	cfg     Config
	secrets atomic.Pointer[secrets]
	kept    atomic.Int64
	dropped atomic.Int64
	first   atomic.Uint32 // the shard that the next flush begins with
	shards  [shardCount]shard
}

type shard struct {
	mu      sync.Mutex
	tenants map[uuid.UUID]sample
}

// sample is the verifiers of one tenant, ordered by pseudonym. It is one piece of memory
// without pointers: most tenants have a few, and there are many tenants.
type sample []client

// client is a verifier of one tenant. Times are in µs since 1970; 0 is never.
type client struct {
	name          int64 // its pseudonym of the day
	setAt, seenAt int64 // as in jwks_clients
	sent          int64 // the set that it was sent last
	writtenSet    int64
	writtenAt     int64
	earlier       [earlierDays]int64 // its pseudonyms of the days before
}

// secrets are those of a day and of the days before it.
type secrets struct {
	day  int64
	keys [1 + earlierDays][sha256.Size]byte
}

// New returns a counter that has seen nothing.
func New(cfg Config) *Counter {
	c := &Counter{cfg: cfg}
	for i := range c.shards {
		c.shards[i].tenants = map[uuid.UUID]sample{}
	}
	return c
}

// Observe counts a request for a tenant's JWK Set that is in effect since setAt. It
// allocates only for a verifier that it has not met.
func (c *Counter) Observe(tenantID uuid.UUID, setAt time.Time, addr netip.Addr, agent string, v Validator) {
	if c == nil {
		return
	}
	now := c.cfg.Now().UnixMicro()
	known := c.secretsOf(now / dayMicros)
	var buf [pseudonymInput]byte
	n := copyInput(&buf, tenantID, addr, agent)
	name := known.pseudonym(0, &buf, n)
	s := &c.shards[tenantID[15]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(tenantID, name)
	if one == nil {
		if one = c.admit(s, tenantID, name); one == nil {
			return
		}
		for i := range one.earlier {
			one.earlier[i] = known.pseudonym(1+i, &buf, n)
		}
	}
	one.observe(setAt.UnixMicro(), now, v)
}

// find returns a verifier that is kept, or nil. The shard is locked.
func (s *shard) find(tenantID uuid.UUID, name int64) *client {
	of := s.tenants[tenantID]
	if i, found := of.search(name); found {
		return &of[i]
	}
	return nil
}

// search returns where a pseudonym is, or would be.
func (of sample) search(name int64) (i int, found bool) {
	return slices.BinarySearchFunc(of, name, func(one client, name int64) int { return cmp.Compare(one.name, name) })
}

// observe notes a request. A verifier that was sent the set in effect and asks with
// another one again does not keep what it fetches.
func (one *client) observe(set, now int64, v Validator) {
	if v == Outdated && one.sent == set {
		one.setAt = 0
	} else {
		one.setAt = set
	}
	one.sent, one.seenAt = set, now
}

// admit makes room for a verifier, and returns nil if its pseudonym is not among the
// smallest of its tenant or if the process has no room. The shard is locked.
func (c *Counter) admit(s *shard, tenantID uuid.UUID, name int64) *client {
	of := s.tenants[tenantID]
	i, _ := of.search(name)
	switch {
	case len(of) < Sample:
		if c.kept.Add(1) > maxClients {
			c.kept.Add(-1)
			c.dropped.Add(1)
			return nil
		}
	case i == len(of):
		return nil
	default:
		of = of[:len(of)-1]
	}
	of = slices.Insert(of, i, client{name: name})
	s.tenants[tenantID] = of
	return &of[i]
}

// pseudonymInput is the length of a secret, a tenant's id, an address and an agent.
const pseudonymInput = sha256.Size + 16 + 16 + maxAgent

// copyInput writes what identifies a verifier behind the room for the secret, and
// returns the end.
func copyInput(buf *[pseudonymInput]byte, tenantID uuid.UUID, addr netip.Addr, agent string) int {
	ip := addr.As16()
	copy(buf[sha256.Size:], tenantID[:])
	copy(buf[sha256.Size+16:], ip[:])
	return sha256.Size + 32 + copy(buf[sha256.Size+32:], agent)
}

// pseudonym returns that of the day so many days ago.
func (s *secrets) pseudonym(ago int, buf *[pseudonymInput]byte, n int) int64 {
	copy(buf[:], s.keys[ago][:])
	sum := sha256.Sum256(buf[:n])
	return int64(binary.BigEndian.Uint64(sum[:]) >> 1)
}

// secretsOf returns the secrets of a day since 1970, which every process derives alike.
func (c *Counter) secretsOf(day int64) *secrets {
	if s := c.secrets.Load(); s != nil && s.day == day {
		return s
	}
	s := &secrets{day: day}
	for i := range s.keys {
		s.keys[i] = c.cfg.Authority.PseudonymKey(day - int64(i))
	}
	c.secrets.Store(s)
	return s
}

// Stats returns how many verifiers this process keeps, and how many requests of further
// ones it did not count for want of room.
func (c *Counter) Stats() (kept, dropped int64) {
	if c == nil {
		return 0, 0
	}
	return c.kept.Load(), c.dropped.Load()
}

// record is a verifier to be written.
type record struct {
	tenantID uuid.UUID
	client
}

// changed lists what is to be written, at most so many, and drops verifiers that were
// not seen for long. What there was no room for comes first the next time.
func (c *Counter) changed(now int64, most int) (out []record) {
	first := c.first.Load()
	for i := range uint32(shardCount) {
		n := (first + i) % shardCount
		s := &c.shards[n]
		s.mu.Lock()
		for tenantID, of := range s.tenants {
			of = slices.DeleteFunc(of, func(one client) bool {
				return now-one.seenAt > int64(idleAfter/time.Microsecond) && one.writtenAt == one.seenAt
			})
			c.kept.Add(int64(len(of) - len(s.tenants[tenantID])))
			for _, one := range of {
				if len(out) < most && one.isDue(now) {
					out = append(out, record{tenantID, one})
				}
			}
			if len(of) == 0 {
				delete(s.tenants, tenantID)
			} else {
				s.tenants[tenantID] = of
			}
		}
		s.mu.Unlock()
		if len(out) < most {
			c.first.Store(n + 1)
		}
	}
	return out
}

// isDue reports whether what is known of a verifier is to be written.
func (one *client) isDue(now int64) bool {
	const rewrite = int64(rewriteAfter / time.Microsecond)
	return one.writtenAt == 0 || one.setAt != one.writtenSet || one.seenAt-one.writtenAt > rewrite || one.seenAt != one.writtenAt && now-one.seenAt > rewrite
}

// written notes what a record says as stored.
func (c *Counter) written(r record) {
	s := &c.shards[r.tenantID[15]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.find(r.tenantID, r.name); one != nil {
		one.writtenSet, one.writtenAt = r.setAt, r.seenAt
	}
}

// estimate returns how many verifiers there are, of a sample in order.
func estimate(sampled int, largest int64) int64 {
	if sampled < Sample || largest == 0 {
		return int64(sampled)
	}
	return int64(float64(Sample-1) / (float64(largest) / math.MaxInt64))
}
