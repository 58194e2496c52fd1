package moves

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// Two replicas sign around a rotation of which one of them does not hear, and
// write their evidence down when they like. Who takes the old key away at its
// safe_to_retire_at breaks no token, with and without leeway between clocks.
func TestRetiringWhenItIsSafeBreaksNothing(t *testing.T) {
	p := newProcess(t)
	q := p.another(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for n, skew := range []time.Duration{0, 0, time.Second, time.Minute} {
		policy := tenant.DefaultPolicy("ES256")
		policy.MaxTokenTTL = time.Duration(2+r.IntN(600)) * time.Second
		policy.DefaultTokenTTL = policy.MaxTokenTTL
		caching := tenant.DefaultCaching
		caching.ClockSkew = skew
		slug := string(rune('a' + n))
		made, err := p.store.CreateTenant(t.Context(), tester, tenant.Spec{Slug: slug, Caching: caching, Policies: []tenant.Policy{policy}})
		if err != nil {
			t.Fatal(err)
		}
		p.await(t, slug)
		q.await(t, slug)
		s := &signedFor{T: t, Rand: r, slug: slug, max: policy.MaxTokenTTL, latest: map[string]time.Time{}}
		old := p.only(t, made.ID, keys.Active)
		q.cut.Store(true)
		heard := age.Read(q.clock.Now)
		q.heardLast.Store(&heard)
		for range 3 {
			s.by(p)
			p.clock.Advance(time.Duration(r.IntN(400)) * time.Millisecond)
			s.by(q)
		}
		if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
			t.Fatal(err)
		}
		p.await(t, slug)
		for range 12 { // for as long as it may have heard of everything, q signs with the old key
			s.by(q)
			s.by(p)
			p.clock.Advance(time.Second)
		}
		if s.missed < 5 {
			t.Fatalf("only %d tokens were signed by a replica that had not heard", s.missed)
		}
		q.cut.Store(false)
		q.heardLast.Store(nil)
		q.snapshots.Missed()
		q.signer.Missed()
		s.retire(p, q, made, old)
	}
}

// signedFor is what is signed for one tenant.
type signedFor struct {
	*testing.T
	*rand.Rand
	slug   string
	max    time.Duration
	first  string
	latest map[string]time.Time // exp by kid
	tokens []signing.Token
	missed int // signed with the first key by one replica after another had the next
}

// by has a replica sign, and sometimes write evidence down: a token, one of a
// batch, or a payload that has an exp.
func (s *signedFor) by(p *process) {
	s.Helper()
	ttl := int64(s.max / time.Second)
	var token signing.Token
	switch s.IntN(3) {
	case 0:
		orders, tokens, errs := [2]signing.Order{{Request: tokens.Request{TTLSeconds: &ttl}}}, [2]signing.Token{}, [3]error{}
		errs[2] = p.signer.SignTokens(s.Context(), s.slug, 2, func(i int, sign signing.SignFunc) { tokens[i], errs[i] = sign(orders[i]) })
		if err := errors.Join(errs[:]...); err != nil {
			s.Fatal(err)
		}
		token = tokens[s.IntN(2)]
	case 1:
		expires := time.Unix(p.clock.Now().Unix()+ttl, 0).UTC()
		rules := tokens.Rules{Issuer: "https://keys.example/t/" + s.slug, Now: p.clock.Now(), DefaultTTL: s.max, MaxTTL: s.max}
		claims, err := rules.Claims(tokens.Request{})
		if err != nil {
			s.Fatal(err)
		}
		out, err := p.signer.SignPayload(s.Context(), s.slug, signing.PayloadOrder{Payload: claims.Payload})
		if err != nil {
			s.Fatal(err)
		}
		token = signing.Token{Token: out.JWS, KID: out.KID, ExpiresAt: expires}
	default:
		var err error
		if token, err = p.signer.SignToken(s.Context(), s.slug, signing.Order{}); err != nil {
			s.Fatal(err)
		}
	}
	if s.tokens = append(s.tokens, token); s.first == "" {
		s.first = token.KID
	}
	if token.KID == s.first && len(s.latest) > 1 {
		s.missed++
	}
	s.latest[token.KID] = keys.Later(s.latest[token.KID], token.ExpiresAt)
	if s.IntN(3) == 0 {
		s.flush(p)
	}
}

func (s *signedFor) flush(p *process) {
	s.Helper()
	if err := p.signer.FlushEvidence(s.Context()); err != nil {
		s.Fatal(err)
	}
}

// retire takes the old key away when that is said to be safe, and demands that
// all tokens that are not over still verify.
func (s *signedFor) retire(p, q *process, acme tenant.Tenant, old string) {
	s.Helper()
	before, err := p.store.Find(s.Context(), acme.ID, old)
	if err != nil {
		s.Fatal(err)
	}
	safe := *before.SafeToRetireAt
	if over := s.latest[old].Add(acme.Caching.ClockSkew); safe.Before(over) {
		s.Errorf("safe at %v, but a token is accepted until %v (skew %v, lifetime %v)", safe, over, acme.Caching.ClockSkew, s.max)
	}
	s.flush(p)
	s.flush(q)
	after, err := p.store.Find(s.Context(), acme.ID, old)
	if err != nil || !after.SafeToRetireAt.Equal(safe) {
		s.Errorf("evidence moved it from %v to %v, %v", safe, after.SafeToRetireAt, err)
	}
	if last := after.LastTokenExpiresAt; last == nil || !last.Equal(s.latest[old]) || after.LastSignedAt.After(*last) {
		s.Errorf("evidence: %+v, the last token expires %v", after, s.latest[old])
	}
	p.clock.Advance(safe.Sub(p.clock.Now()) + time.Millisecond)
	s.verifies(p)
	if _, err := p.store.Revoke(s.Context(), tester, acme.ID, old, RevokeRequest{Reason: keys.Superseded}); err != nil {
		s.Fatal(err)
	}
	p.await(s.T, s.slug)
	s.verifies(p)
}

func (s *signedFor) verifies(p *process) {
	s.Helper()
	for _, token := range s.tokens {
		_, err := p.signer.Verify(s.Context(), s.slug, signing.VerifyRequest{Token: token.Token})
		var refused *tokens.VerifyError
		if errors.As(err, &refused) && refused.Code == tokens.CodeExpired || errors.As(err, &refused) && refused.Code == tokens.CodeKeyRevoked && s.over(p, token) {
			continue
		}
		if err != nil {
			s.Errorf("a token that expires %v: %v", token.ExpiresAt, err)
		}
	}
}

func (s *signedFor) over(p *process, token signing.Token) bool {
	return !p.clock.Now().Before(token.ExpiresAt)
}
