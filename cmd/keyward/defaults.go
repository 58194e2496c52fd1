package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/tenant"
)

// defaultPolicy returns the policy of tenants that are created without one. What no
// variable sets follows the others: a standby is published no longer than the rotation
// interval, and a token lives no longer than the grace period allows.
func (c *checks) defaultPolicy(s settings) tenant.Policy {
	alg := jose.SignatureAlgorithm(s.DefaultAlgorithm)
	if !slices.Contains(tenant.Algorithms, alg) {
		names := make([]string, len(tenant.Algorithms))
		for i, known := range tenant.Algorithms {
			names[i] = string(known)
		}
		last := len(names) - 1
		c.reject("KEYWARD_DEFAULT_ALGORITHM", strings.Join(names[:last], ", ")+" or "+names[last])
		return tenant.Policy{}
	}
	p := tenant.DefaultPolicy(alg)
	p.Default = true
	if s.DefaultRSABits != "" {
		c.setRSABits(&p, s.DefaultRSABits)
	}
	p.RotationInterval = c.wholeSeconds("KEYWARD_DEFAULT_ROTATION_INTERVAL", s.DefaultRotation)
	p.GracePeriod = c.wholeSeconds("KEYWARD_DEFAULT_GRACE_PERIOD", s.DefaultGrace)
	p.DefaultTokenTTL = c.wholeSeconds("KEYWARD_DEFAULT_TOKEN_TTL", s.DefaultTokenTTL)
	if s.DefaultLead != "" {
		p.PublishLead = c.wholeSeconds("KEYWARD_DEFAULT_PUBLISH_LEAD", s.DefaultLead)
	} else if p.RotationInterval > 0 {
		p.PublishLead = min(p.PublishLead, p.RotationInterval)
	}
	p.MaxTokenTTL = max(p.DefaultTokenTTL, min(p.MaxTokenTTL, p.GracePeriod-tenant.DefaultCaching.ClockSkew))
	c.checkDefaults(p, s)
	return p
}

func (c *checks) setRSABits(p *tenant.Policy, bits string) {
	if i := slices.Index([]string{"2048", "3072", "4096"}, bits); i >= 0 && p.RSABits != 0 {
		p.RSABits = []int{2048, 3072, 4096}[i]
		return
	}
	c.reject("KEYWARD_DEFAULT_RSA_BITS", "2048, 3072 or 4096, for an algorithm of RSA")
}

func (c *checks) wholeSeconds(variable, value string) time.Duration {
	var s span
	if s.UnmarshalText([]byte(value)) != nil {
		c.reject(variable, strings.TrimPrefix(errSpan.Error(), "must be "))
	}
	return time.Duration(s)
}

// checkDefaults checks the policy as it would be when a tenant is created, so that a
// deployment does not start and then refuse every tenant.
func (c *checks) checkDefaults(p tenant.Policy, s settings) {
	var broken *tenant.PolicyError
	if !errors.As(p.Validate(tenant.DefaultCaching), &broken) {
		return
	}
	variable := map[string]string{
		"rotation_interval_seconds": "KEYWARD_DEFAULT_ROTATION_INTERVAL", "publish_lead_seconds": "KEYWARD_DEFAULT_PUBLISH_LEAD",
		"grace_period_seconds": "KEYWARD_DEFAULT_GRACE_PERIOD",
	}[broken.Fields[0].Field]
	switch {
	case variable == "KEYWARD_DEFAULT_PUBLISH_LEAD" && s.DefaultLead == "":
		variable = "KEYWARD_DEFAULT_ROTATION_INTERVAL"
	case variable == "":
		variable = "KEYWARD_DEFAULT_TOKEN_TTL"
	}
	c.reject(variable, "such that a tenant can have the policy, whose "+broken.Fields[0].Field+" "+broken.Fields[0].Message)
}
