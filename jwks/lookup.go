package jwks

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"
)

// Key is the signing key with that kid. An empty kid means the only key there
// is; if there are several, or several with that kid, the error is
// [ErrSigningKeyNotFound], as it is if there is none.
func (c *Client) Key(ctx context.Context, kid string) (*Key, error) {
	return c.find(ctx, c.config.Now(), kid, nil)
}

// Keys are all signing keys: those without a use or with use "sig", of type RSA,
// EC or OKP; first the local ones. The error is [ErrNoKeys] or
// [ErrNoSigningKeys] if there are none.
func (c *Client) Keys(ctx context.Context) ([]*Key, error) {
	now := c.config.Now()
	var all []*Key
	var failed error
	for _, s := range []*source{c.local, c.remote} {
		if s == nil {
			continue
		}
		have, _, err := s.get(ctx, now)
		if err == nil {
			err = have.empty()
		}
		if failed = err; err != nil {
			continue
		}
		for _, e := range have.entries {
			all = append(all, have.key(e, now.UnixNano()))
		}
	}
	if len(all) == 0 || c.remote != nil && failed != nil {
		return nil, failed
	}
	return all, nil
}

// PublicKeyFor is the key that verifies a token with that JOSE header: the one
// its kid names, if it verifies its alg. It makes a key function for other JWT
// libraries, which must limit the algorithms themselves:
//
//	func(t *jwt.Token) (any, error) { return client.PublicKeyFor(ctx, t.Header) }
func (c *Client) PublicKeyFor(ctx context.Context, header map[string]any) (crypto.PublicKey, error) {
	name, _ := header["alg"].(string)
	kid, isText := header["kid"].(string)
	alg := named(name)
	if _, given := header["kid"]; alg == nil || given && !isText {
		return nil, ErrAlgorithm
	}
	key, err := c.find(ctx, c.config.Now(), kid, alg)
	if err != nil {
		return nil, err
	}
	return key.key, nil
}

// find finds the key for a kid and, unless it is nil, an algorithm.
func (c *Client) find(ctx context.Context, now time.Time, kid string, alg *algorithm) (*Key, error) {
	for _, s := range [...]*source{c.local, c.remote} { // nearly always this is all that is done
		if key := s.atHand(now.UnixNano(), kid, alg); key != nil {
			return key, nil
		}
	}
	if c.local == nil {
		return c.remote.find(ctx, now, kid, alg)
	}
	return c.findAnywhere(ctx, now, kid, alg)
}

// findAnywhere looks in the local set, then in the issuer's, and if neither has
// the kid, whether the local one has it by now.
func (c *Client) findAnywhere(ctx context.Context, now time.Time, kid string, alg *algorithm) (*Key, error) {
	have, _, err := c.local.get(ctx, now)
	if err == nil {
		if key, _ := have.pick(kid, alg, now.UnixNano()); key != nil {
			return key, nil
		}
	}
	if c.remote == nil {
		return c.local.find(ctx, now, kid, alg)
	}
	key, err := c.remote.find(ctx, now, kid, alg)
	if errors.Is(err, ErrSigningKeyNotFound) || errors.Is(err, ErrJWKS) {
		if key, err := c.local.find(ctx, now, kid, alg); err == nil {
			return key, nil
		}
	}
	return key, err
}

// atHand finds a key if nothing needs to be done for it. It takes no lock.
func (s *source) atHand(now int64, kid string, alg *algorithm) *Key {
	if s == nil {
		return nil
	}
	have := s.fresh(now)
	if have == nil {
		return nil
	}
	key, _ := have.pick(kid, alg, now)
	return key
}

// find looks in the copy at hand, and then in a newer one if that may be had.
func (s *source) find(ctx context.Context, now time.Time, kid string, alg *algorithm) (*Key, error) {
	have, fetched, err := s.get(ctx, now)
	if err != nil {
		return nil, err
	}
	key, matches := have.pick(kid, alg, now.UnixNano())
	// The second time is for a fetch that began before the key was there.
	for tries := 0; tries < 2 && matches == 0 && !fetched && !have.knows(kid); tries++ {
		if have, err = s.again(ctx, now, have); err != nil {
			return nil, err
		}
		key, matches = have.pick(kid, alg, now.UnixNano())
	}
	if key == nil {
		return nil, have.why(kid, matches)
	}
	return key, nil
}

// knows is true if a newer copy could bring no news about the kid but that it
// is gone.
func (s *set) knows(kid string) bool { return len(s.byID[kid]) > 0 }

// why is the error of a kid and algorithm that so many keys answer to.
func (s *set) why(kid string, matches int) error {
	switch {
	case matches > 1 && kid == "":
		return fmt.Errorf("%w: no kid given, and the JWKS endpoint returned more than 1 key", ErrSigningKeyNotFound)
	case matches > 1:
		return fmt.Errorf("%w, as several keys have it", notFound(kid))
	case s.empty() != nil:
		return s.empty()
	case s.knows(kid) || kid == "":
		return fmt.Errorf("%w: it is not that of its key", ErrAlgorithm)
	}
	return notFound(kid)
}
