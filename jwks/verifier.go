package jwks

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// VerifierConfig says which tokens a [Verifier] accepts. Issuer or Issuers, Audience
// and Algorithms are mandatory: a check is only left out if a field says so.
type VerifierConfig struct {
	// Issuer that the iss claim has to be, exactly. Its keys are found by
	// discovery, unless there is a Client.
	Issuer string
	// Client has the Issuer's keys; nil is one made from Keys.
	Client *Client
	// Keys is the configuration of the client that is made if there is none. Its
	// Issuer is set.
	Keys Config
	// Issuers has the clients of many issuers; then there is no Issuer.
	Issuers *Issuers
	// AnyIssuer accepts every iss, and none, with the Client's keys.
	AnyIssuer bool

	// Audience are the names this service goes by: aud must have one of them.
	Audience []string
	// AnyAudience accepts every aud, and none.
	AnyAudience bool

	// Algorithms that are accepted (RFC 8725 section 3.1). Each signature must
	// be of the algorithm of its key besides. [jose.EdDSA] and [Ed25519] are one
	// algorithm, but each name is accepted only if it is here.
	Algorithms []jose.SignatureAlgorithm

	// Types that typ may be; "" is none. Nil is "", "JWT" and "at+jwt". Case and
	// a leading "application/" do not matter (RFC 7515 section 4.1.9).
	Types []string
	// Skew is how far the clocks of issuer and verifier may be apart.
	Skew time.Duration
	// MaxTokenAge is the longest time since iat, which then must be there; 0 is
	// no limit.
	MaxTokenAge time.Duration
	// NoExpiry accepts tokens without exp.
	NoExpiry bool
	// IssuedSince refuses tokens whose iat is before it or missing.
	IssuedSince time.Time
	// Required are claims that must be there and not null.
	Required []string
	// Scopes that the token must have, all of them.
	Scopes []string
	// Validate is called last, with a token that has passed all other checks. Its
	// error is wrapped in [ErrToken].
	Validate func(context.Context, *Token) error

	// MaxSize is how long a token may be, in bytes; 0 is 16 KiB.
	MaxSize int
	// Now is the clock; nil is [time.Now].
	Now func() time.Time
}

// A Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	config VerifierConfig
	accept []*algorithm
}

// NewVerifier returns a verifier. Its errors wrap [ErrArgument].
func NewVerifier(config VerifierConfig) (*Verifier, error) {
	v := &Verifier{config: config}
	c := &v.config
	c.Audience, c.Scopes, c.Required = slices.Clone(c.Audience), slices.Clone(c.Scopes), slices.Clone(c.Required)
	if c.Types == nil {
		c.Types = []string{"", "jwt", "at+jwt"}
	}
	c.Types = slices.Clone(c.Types)
	c.MaxSize = cmp.Or(c.MaxSize, 16<<10)
	if c.Keys.Now == nil {
		c.Keys.Now = c.Now
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	for _, name := range c.Algorithms {
		a := algorithmByName(name)
		if a == nil {
			return nil, argumentError("algorithm %q is not one for public keys", name)
		}
		v.accept = append(v.accept, a)
	}
	return v, c.makeClient()
}

func (c *VerifierConfig) check() error {
	switch {
	case len(c.Algorithms) == 0:
		return argumentError("Algorithms is empty")
	case len(c.Audience) == 0 && !c.AnyAudience:
		return argumentError("Audience is empty; AnyAudience would do without")
	case slices.Contains(c.Audience, ""):
		return argumentError("Audience has an empty name")
	case c.Issuers != nil && (c.Issuer != "" || c.Client != nil || c.AnyIssuer):
		return argumentError("Issuers is given, and so is Issuer, Client or AnyIssuer")
	case c.Issuers == nil && c.Issuer == "" && !c.AnyIssuer:
		return argumentError("neither Issuer nor Issuers is given; AnyIssuer would do without")
	case c.AnyIssuer && (c.Issuer != "" || c.Client == nil):
		return argumentError("AnyIssuer wants a Client and no Issuer")
	case c.Skew < 0 || c.MaxTokenAge < 0 || c.MaxSize < 0:
		return argumentError("Skew, MaxTokenAge or MaxSize is negative")
	case len(c.Required) > maxRequired:
		return argumentError("more than %d claims are required", maxRequired)
	}
	return nil
}

// makeClient makes the client if none is configured.
func (c *VerifierConfig) makeClient() (err error) {
	if c.Client != nil || c.Issuers != nil {
		return nil
	}
	c.Keys.Issuer = c.Issuer
	c.Client, err = New(c.Keys)
	return err
}
