package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/tenant"
)

func TestDefaultsAreValid(t *testing.T) {
	if len(tenant.Algorithms) != 14 {
		t.Errorf("%d algorithms", len(tenant.Algorithms))
	}
	if err := tenant.DefaultCaching.Validate(); err != nil {
		t.Error(err)
	}
	for _, alg := range tenant.Algorithms {
		p := tenant.DefaultPolicy(alg)
		if err := p.Validate(tenant.DefaultCaching); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if rsa := strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS"); rsa != (p.RSABits == 2048) {
			t.Errorf("%s: rsa_bits %d", alg, p.RSABits)
		}
	}
}

// policy is the default one, changed.
func policy(alg jose.SignatureAlgorithm, change func(*tenant.Policy)) tenant.Policy {
	p := tenant.DefaultPolicy(alg)
	change(&p)
	return p
}

func TestPolicyRules(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name   string
		alg    jose.SignatureAlgorithm
		change func(*tenant.Policy)
		broken []string
	}{
		{"shortest", "ES256", func(p *tenant.Policy) {
			p.RotationInterval, p.PublishLead, p.GracePeriod, p.PurgeAfter = 420*second, 420*second, 61*second, second
			p.DefaultTokenTTL, p.MaxTokenTTL, p.MaxPublishedKeys = second, second, 3
		}, nil},
		{"by hand only", "ES256", func(p *tenant.Policy) { p.RotationInterval = 0 }, nil},
		{"unknown algorithm", "HS256", func(*tenant.Policy) {}, []string{"alg"}},
		{"no algorithm", "none", func(*tenant.Policy) {}, []string{"alg"}},
		{"small RSA", "RS256", func(p *tenant.Policy) { p.RSABits = 1024 }, []string{"rsa_bits"}},
		{"no size", "PS512", func(p *tenant.Policy) { p.RSABits = 0 }, []string{"rsa_bits"}},
		{"size of no RSA key", "EdDSA", func(p *tenant.Policy) { p.RSABits = 2048 }, []string{"rsa_bits"}},
		{"lead beyond interval", "ES256", func(p *tenant.Policy) { p.RotationInterval = p.PublishLead - second }, []string{"publish_lead_seconds"}},
		{"lead below caches", "ES256", func(p *tenant.Policy) { p.PublishLead = 419 * second }, []string{"publish_lead_seconds"}},
		{"grace below tokens", "ES256", func(p *tenant.Policy) { p.GracePeriod = p.MaxTokenTTL + 59*second }, []string{"grace_period_seconds"}},
		{"default beyond max", "ES256", func(p *tenant.Policy) { p.DefaultTokenTTL = p.MaxTokenTTL + second }, []string{"default_token_ttl_seconds"}},
		{"fraction of a second", "ES256", func(p *tenant.Policy) { p.PurgeAfter += time.Millisecond }, []string{"purge_after_seconds"}},
		{"negative", "ES256", func(p *tenant.Policy) { p.RotationInterval = -second }, []string{"rotation_interval_seconds"}},
		{"too few keys", "ES256", func(p *tenant.Policy) { p.MaxPublishedKeys = 2 }, []string{"max_published_keys"}},
		{
			"many at once", "RS256", func(p *tenant.Policy) { p.RSABits, p.MaxPublishedKeys, p.GracePeriod = 1, 65, 0 },
			[]string{"rsa_bits", "max_published_keys", "grace_period_seconds"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := policy(c.alg, c.change).Validate(tenant.DefaultCaching)
			var broken *tenant.PolicyError
			if errors.As(err, &broken) != (c.broken != nil) {
				t.Fatalf("%v", err)
			}
			if broken == nil {
				return
			}
			var got []string
			for _, f := range broken.Fields {
				if !slices.Contains(got, f.Field) {
					got = append(got, f.Field)
				}
			}
			if !slices.Equal(got, c.broken) {
				t.Errorf("%v, want %v", err, c.broken)
			}
		})
	}
	err := tenant.DefaultPolicy("HS256").Validate(tenant.DefaultCaching)
	for _, alg := range tenant.Algorithms {
		if !strings.Contains(err.Error(), string(alg)) {
			t.Errorf("%q does not name %s", err, alg)
		}
	}
}

// What Validate accepts the database accepts, and nothing else: policies and
// caching around every bound, thousands of them.
func TestPolicyRulesAreThoseOfTheDatabase(t *testing.T) {
	conn := newWorld(t).connect(t)
	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 3000 {
		p, c := around(random)
		valid := errors.Join(p.Validate(c), c.Validate())
		stored := store(t, conn, p, c)
		if (valid == nil) != (stored == nil) {
			t.Fatalf("%+v\n%+v\nValidate: %v\ndatabase: %v", p, c, valid, stored)
		}
		if valid == nil {
			accepted++
		}
	}
	if accepted < 300 || accepted > 2700 {
		t.Errorf("%d of 3000 accepted: the test sees one side only", accepted)
	}
}

// around is a valid policy with up to two settings moved to or over a bound.
func around(random *rand.Rand) (tenant.Policy, tenant.Caching) {
	algs := append([]jose.SignatureAlgorithm{"HS256", "none", ""}, tenant.Algorithms...)
	p, c := tenant.DefaultPolicy(algs[max(0, random.IntN(len(algs)+20)-20)%len(algs)]), tenant.DefaultCaching
	if random.IntN(2) == 0 {
		p = tenant.DefaultPolicy(tenant.Algorithms[random.IntN(len(tenant.Algorithms))])
	}
	durations := []*time.Duration{
		&p.RotationInterval, &p.PublishLead, &p.GracePeriod, &p.PurgeAfter, &p.DefaultTokenTTL, &p.MaxTokenTTL, &p.MaxAdoptionWait,
		&c.MaxAge, &c.StaleWhileRevalidate, &c.StaleIfError, &c.ClockSkew,
	}
	bounds := []int{
		-1, 0, 1, 59, 60, 61, 300, 419, 420, 421, 600, 601, 899, 900, 901, 85980, 86039, 86040, 86041, 86399, 86400, 86401, 86459, 86460, 86461,
		604740, 604799, 604800, 604801, 2591999, 2592000, 2592001, 315360000, 315360001,
	}
	for range random.IntN(3) {
		*durations[random.IntN(len(durations))] = time.Duration(bounds[random.IntN(len(bounds))]) * time.Second
	}
	if random.IntN(8) == 0 {
		p.MaxPublishedKeys = []int{0, 2, 3, 64, 65}[random.IntN(5)]
	}
	if random.IntN(8) == 0 {
		p.MinAdoption = []float64{-0.01, 0, 0.5, 1, 1.01, math.NaN(), math.Inf(1)}[random.IntN(7)]
	}
	if random.IntN(8) == 0 {
		p.RSABits = []int{0, 1024, 2048, 3072, 4096, 8192}[random.IntN(6)]
	}
	return p, c
}

// store inserts a tenant and a policy, and takes both back.
func store(t *testing.T, conn *pgx.Conn, p tenant.Policy, c tenant.Caching) error {
	t.Helper()
	ctx, id := t.Context(), uuid.New()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	_, err = tx.Exec(ctx, `INSERT INTO tenants (id, slug, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds,
		jwks_stale_if_error_seconds, clock_skew_seconds, audit_seq, audit_hash, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, 1, sha256(''), now(), now())`,
		id, "t"+fmt.Sprint(id)[:8], seconds(c.MaxAge), seconds(c.StaleWhileRevalidate), seconds(c.StaleIfError), seconds(c.ClockSkew))
	if err != nil {
		return err
	}
	row := tenant.PolicyRowOf(id, p)
	_, err = tx.Exec(ctx, `INSERT INTO policies (tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds,
		grace_period_seconds, purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys,
		min_adoption, max_adoption_wait_seconds, created_at, updated_at)
		VALUES ($1, $2, true, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now(), now())`,
		id, row.Alg, row.RSABits, row.RotationIntervalSeconds, row.PublishLeadSeconds, row.GracePeriodSeconds, row.PurgeAfterSeconds,
		row.DefaultTokenTTLSeconds, row.MaxTokenTTLSeconds, row.MaxPublishedKeys, row.MinAdoption, row.MaxAdoptionWaitSeconds)
	return err
}

// The other side of the same rules: caching that existing policies refuse.
func TestCachingAgainstPolicies(t *testing.T) {
	policies := []tenant.Policy{tenant.DefaultPolicy(jose.ES256), policy(jose.RS256, func(p *tenant.Policy) { p.PublishLead = 10 * time.Minute })}
	gone := policy(jose.ES384, func(p *tenant.Policy) { p.PublishLead, p.RetiredAt = time.Second, &noon })
	c := tenant.DefaultCaching
	if err := c.ValidateFor(append(policies, gone)); err != nil {
		t.Error(err)
	}
	c.MaxAge = 10 * time.Minute
	var broken *tenant.PolicyError
	if err := c.ValidateFor(policies); !errors.As(err, &broken) || len(broken.Fields) != 1 || !strings.Contains(broken.Fields[0].Message, "RS256") {
		t.Errorf("%v", err)
	}
}
