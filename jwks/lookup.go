package jwks

import (
	"context"
	"crypto"
	"errors"
	"fmt"
)

// Key returns the signing key with that kid. An empty kid means the only key there
// is. If there is none, or if several different keys are meant, the error is
// [ErrSigningKeyNotFound].
func (c *Client) Key(ctx context.Context, kid string) (*Key, error) {
	return c.findKey(ctx, kid, nil)
}

// Keys returns all signing keys: those without a use or with use "sig", of type
// RSA, EC or OKP; first the local ones. The error is [ErrNoKeys] or
// [ErrNoSigningKeys] if there are none.
func (c *Client) Keys(ctx context.Context) ([]*Key, error) {
	now := c.clock.read()
	var all []*Key
	var failed error
	for _, s := range c.sources() {
		if s == nil {
			continue
		}
		have, _, err := s.usableCopy(ctx)
		if err == nil {
			err = have.emptyError()
		}
		if failed = err; err != nil {
			continue
		}
		for _, e := range have.entries {
			all = append(all, have.readyKey(e, now))
		}
	}
	if len(all) == 0 || c.remote != nil && failed != nil {
		return nil, failed
	}
	return all, nil
}

// PublicKeyFor returns the key that verifies a token with that JOSE header: the
// one its kid names, if it verifies its alg. It makes a key function for other JWT
// libraries, which must limit the algorithms themselves:
//
//	func(t *jwt.Token) (any, error) { return client.PublicKeyFor(ctx, t.Header) }
func (c *Client) PublicKeyFor(ctx context.Context, header map[string]any) (crypto.PublicKey, error) {
	name, _ := header["alg"].(string)
	kid, isText := header["kid"].(string)
	alg := algorithmByName(name)
	if _, given := header["kid"]; alg == nil || given && !isText {
		return nil, ErrAlgorithm
	}
	key, err := c.findKey(ctx, kid, alg)
	if err != nil {
		return nil, err
	}
	return key.key, nil
}

// findKey finds the key for a kid and, unless it is nil, an algorithm.
func (c *Client) findKey(ctx context.Context, kid string, alg *algorithm) (*Key, error) {
	now := c.clock.read()
	for _, s := range c.sources() { // nearly always this is all that is done
		if key := s.keyAtHand(now, kid, alg); key != nil {
			return key, nil
		}
	}
	if c.local == nil {
		return c.remote.findKey(ctx, kid, alg)
	}
	return c.findAnywhere(ctx, kid, alg)
}

// sources returns the local and the remote source, nil where there is none.
func (c *Client) sources() [2]*source { return [2]*source{c.local, c.remote} }

// findAnywhere looks in the local set, then in the issuer's, and if neither has
// the kid, in a newer local one.
func (c *Client) findAnywhere(ctx context.Context, kid string, alg *algorithm) (*Key, error) {
	have, _, err := c.local.usableCopy(ctx)
	if err == nil {
		if key, _ := have.pick(kid, alg, have.fetched); key != nil {
			return key, nil
		}
	}
	if c.remote == nil {
		return c.local.findKey(ctx, kid, alg)
	}
	key, err := c.remote.findKey(ctx, kid, alg)
	if errors.Is(err, ErrSigningKeyNotFound) || errors.Is(err, ErrJWKS) {
		if key, err := c.local.findKey(ctx, kid, alg); err == nil {
			return key, nil
		}
	}
	return key, err
}

// knownKey returns the key for a kid and an algorithm in the copies at hand,
// however old they are, or nil. It never fetches.
func (c *Client) knownKey(kid string, alg *algorithm) *Key {
	for _, s := range c.sources() {
		if s == nil {
			continue
		}
		if have := s.current.Load(); have != nil {
			if key, _ := have.pick(kid, alg, have.fetched); key != nil {
				return key
			}
		}
	}
	return nil
}

// replacedKey returns the key that an issuer now publishes under the kid of old,
// whose signature check failed, or nil if that is the same key. Issuers should not
// use a kid again, but some do. The fetch counts as one for an unknown kid.
func (c *Client) replacedKey(ctx context.Context, kid string, alg *algorithm, old *Key) *Key {
	now := c.clock.read()
	for _, s := range c.sources() {
		if s == nil {
			continue
		}
		have := s.current.Load()
		if have == nil {
			continue
		}
		key, _ := have.pick(kid, alg, now)
		if key == nil || fingerprintOf(key.key) != fingerprintOf(old.key) || have.fetched.within(s.config.Cooldown, now) {
			continue
		}
		newer, err := s.newerCopy(ctx, have, false)
		if err != nil || newer == have {
			return nil
		}
		if key, _ := newer.pick(kid, alg, now); key != nil && fingerprintOf(key.key) != fingerprintOf(old.key) {
			return key
		}
		return nil
	}
	return nil
}

// keyAtHand finds a key if no fetch is due. It takes no lock.
func (s *source) keyAtHand(now instant, kid string, alg *algorithm) *Key {
	if s == nil {
		return nil
	}
	have := s.freshCopy(now)
	if have == nil {
		return nil
	}
	key, _ := have.pick(kid, alg, now)
	return key
}

// findKey looks in the copy at hand, and then in a newer one if that may be had.
func (s *source) findKey(ctx context.Context, kid string, alg *algorithm) (*Key, error) {
	have, fetched, err := s.usableCopy(ctx)
	if err != nil {
		return nil, err
	}
	now := s.clock.read()
	key, matches := have.pick(kid, alg, now)
	// The second try is for a fetch that began before the key was published.
	for tries := 0; tries < 2 && matches == 0 && !fetched; tries++ {
		known := have.knows(kid) // for another algorithm; issuers should not use a kid again, but some do
		if known && have.fetched.within(s.config.Cooldown, now) {
			break
		}
		newer, err := s.newerCopy(ctx, have, !known)
		if err != nil && known && ctx.Err() == nil {
			break
		}
		if errors.Is(err, ErrRateLimited) { // the set at hand answers the question well enough
			return nil, fmt.Errorf("%w (%w)", have.lookupError(kid, 0), err)
		}
		if err != nil {
			return nil, err
		}
		have = newer
		key, matches = have.pick(kid, alg, now)
	}
	if key == nil {
		return nil, have.lookupError(kid, matches)
	}
	return key, nil
}

// knows reports whether the set has a key of that kid.
func (s *set) knows(kid string) bool { return len(s.byID[kid]) > 0 }

// lookupError returns the error of a kid and algorithm to which that many keys
// answer.
func (s *set) lookupError(kid string, matches int) error {
	switch {
	case matches > 1 && kid == "":
		return fmt.Errorf("%w: no kid given, and the JWKS endpoint returned more than 1 key", ErrSigningKeyNotFound)
	case matches > 1:
		return fmt.Errorf("%w, as several keys have it", notFound(kid))
	case s.emptyError() != nil:
		return s.emptyError()
	case s.knows(kid) || kid == "":
		return fmt.Errorf("%w: it is not that of its key", ErrAlgorithm)
	}
	return notFound(kid)
}
