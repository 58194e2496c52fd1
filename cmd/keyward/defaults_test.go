package main

import (
	"regexp"
	"testing"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// A deployment's defaults are the policy of a tenant that is created without one, to
// the last member, and of no other tenant.
func TestDefaultsOfADeployment(t *testing.T) {
	env := deployed(t)
	for name, value := range map[string]string{
		"ALGORITHM": "PS384", "RSA_BITS": "3072", "ROTATION_INTERVAL": "12h", "GRACE_PERIOD": "2h", "TOKEN_TTL": "5m",
	} {
		env["KEYWARD_DEFAULT_"+name] = value
	}
	key := regexp.MustCompile(`kw_\w+`).FindString(keyward(t, env, "api-key", "create", "--role=platform_admin", "--name=root").stdout)
	r := launch(t, env, "serve", "--log-format=text")
	cli := environ{"KEYWARD_URL": r.until(t, `msg=serving url=(\S+)`)[1], "KEYWARD_API_KEY": key}
	ok(t, cli, "tenant", "create", "plain")
	ok(t, cli, "tenant", "create", "chosen", "--alg=ES384")
	plain := okJSON[client.PolicyList](t, cli, "policy", "list", "--tenant=plain").Items
	if len(plain) != 1 || plain[0].Alg != "PS384" || !plain[0].Default || *plain[0].RSABits != 3072 || plain[0].RotationIntervalSeconds != 43200 ||
		plain[0].PublishLeadSeconds != 43200 || plain[0].GracePeriodSeconds != 7200 || plain[0].DefaultTokenTTLSeconds != 300 || plain[0].MaxTokenTTLSeconds != 7140 {
		t.Errorf("%+v", plain)
	}
	chosen := okJSON[client.PolicyList](t, cli, "policy", "list", "--tenant=chosen").Items
	if len(chosen) != 1 || chosen[0].Alg != "ES384" || chosen[0].RotationIntervalSeconds != 30*86400 {
		t.Errorf("%+v", chosen)
	}
	ok(t, cli, "token", "sign", "--tenant=plain")
	r.stop()
}

// Every combination of variables that a deployment starts with makes tenants, and one
// without variables has the policy of docs/contract.md.
func TestDefaultsAreValidPolicies(t *testing.T) {
	plain := settings{DefaultAlgorithm: "ES256", DefaultRotation: "30d", DefaultGrace: "7d", DefaultTokenTTL: "15m"}
	var c checks
	want := tenant.DefaultPolicy("ES256")
	want.Default = true
	if got := c.defaultPolicy(plain); got != want || c.err != nil {
		t.Errorf("%+v, %v", got, c.err)
	}
	valid := 0
	for _, rotation := range []string{"0s", "1m", "7m", "12h", "3650d"} {
		for _, lead := range []string{"", "7m", "1d"} {
			for _, grace := range []string{"1s", "2m", "1d", "3650d"} {
				for _, ttl := range []string{"1s", "1m", "25h"} {
					s := plain
					s.DefaultRotation, s.DefaultLead, s.DefaultGrace, s.DefaultTokenTTL = rotation, lead, grace, ttl
					var c checks
					p := c.defaultPolicy(s)
					if err := p.Validate(tenant.DefaultCaching); (err == nil) != (c.err == nil) {
						t.Errorf("%+v: %v, said %v", s, err, c.err)
					} else if err == nil {
						valid++
					}
					if c.err == nil && (p.DefaultTokenTTL > p.MaxTokenTTL || p.MaxTokenTTL > max(24*time.Hour, p.DefaultTokenTTL)) {
						t.Errorf("%+v: %+v", s, p)
					}
				}
			}
		}
	}
	if valid < 20 {
		t.Errorf("only %d combinations are valid", valid)
	}
}

// A deployment whose tenants could not have the defaults does not start, and says which
// variable is to blame.
func TestDefaultsThatNoTenantCanHave(t *testing.T) {
	for _, c := range []struct{ variable, value, said string }{
		{"KEYWARD_DEFAULT_ROTATION_INTERVAL", "60s", "publish_lead_seconds must be at least"},
		{"KEYWARD_DEFAULT_ROTATION_INTERVAL", "4000d", "rotation_interval_seconds"},
		{"KEYWARD_DEFAULT_PUBLISH_LEAD", "31d", "at most rotation_interval_seconds"},
		{"KEYWARD_DEFAULT_GRACE_PERIOD", "15m", "at least max_token_ttl_seconds + clock_skew_seconds"},
		{"KEYWARD_DEFAULT_TOKEN_TTL", "0s", "default_token_ttl_seconds"},
	} {
		r := keyward(t, environ{c.variable: c.value}, "serve")
		r.want(t, exitUsage, c.variable+" ", c.said)
	}
}
