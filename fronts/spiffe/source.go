package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/jwks"
)

var errOlder = errors.New("Keyward returned a set that is older than the last one")

const (
	// fetchTimeout bounds a request to Keyward.
	fetchTimeout = 10 * time.Second
	// maxKeys bounds the keys of a set.
	maxKeys = 1000
)

// source holds the bundle of a trust domain, which refresh makes from the signed set of a
// tenant (jwks.jwt). current may be read while one goroutine calls refresh.
type source struct {
	domain, tenant string
	api            *client.Requests
	pin            *jwks.Pin // nil: what Keyward says over TLS is believed
	now            func() time.Time
	log            *slog.Logger

	current  atomic.Pointer[bundle] // nil: none was fetched, or the tenant is gone
	sequence uint64                 // the highest one so far
	failing  bool
	leftOut  map[string]bool // algorithms that the log has named
}

// usable returns the bundle, or nil if there is none that may be served now.
func (s *source) usable() *bundle {
	if b := s.current.Load(); b != nil && b.isUsable(s.now) {
		return b
	}
	return nil
}

// refresh asks Keyward for the present set. After an error the last bundle stays, unless the
// error is Keyward's word that the tenant is gone. Errors: those of package client, and of
// package jwks if the set is not to be trusted; errOlder.
func (s *source) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	began := age.Read(s.now)
	response, err := s.api.GetSignedJWKS(ctx, s.tenant, nil)
	text, err := client.Bytes(response, err)
	if problem := (*client.Problem)(nil); errors.As(err, &problem) && problem.Code == client.ProblemCodeTenantNotFound {
		s.current.Store(nil)
	}
	if err != nil {
		return err
	}
	set, err := verify(ctx, text, s.pin, s.now)
	if err != nil {
		return err
	}
	made, err := newBundle(set, response.Header, began)
	switch {
	case err != nil:
		return err
	case made.sequence < s.sequence: // of a replica that lags behind, or of a cache on the way
		return errOlder
	}
	s.logLeftOut(set)
	s.sequence = made.sequence
	s.current.Store(made)
	return nil
}

// follow refreshes the bundle until ctx is done, every so often or as often as the tenant's
// max-age says, if that is more often. The load of Keyward does not depend on how many ask
// for the bundle.
func (s *source) follow(ctx context.Context, every time.Duration) {
	for {
		wait := every
		if b := s.current.Load(); b != nil {
			wait = min(wait, b.hint)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := s.refresh(ctx); ctx.Err() == nil {
			s.logFailure(err)
		}
	}
}

// logFailure logs the first of several failures in a row, and the end of them.
func (s *source) logFailure(err error) {
	switch {
	case err != nil && !s.failing:
		s.log.Warn("the set cannot be fetched: the last bundle is served as long as it may be used", "trust_domain", s.domain, "tenant", s.tenant, "error", err)
	case err == nil && s.failing:
		s.log.Info("the set is fetched again", "trust_domain", s.domain, "tenant", s.tenant)
	}
	s.failing = err != nil
}

// logLeftOut logs the algorithms, each once, whose keys a bundle cannot have.
func (s *source) logLeftOut(set *signedSet) {
	for _, key := range set.keys {
		if alg := string(key.Algorithm()); !isAllowed(key) && !s.leftOut[alg] {
			s.leftOut[alg] = true
			s.log.Warn("keys are left out of the bundle: JWT-SVIDs do not have this algorithm", "trust_domain", s.domain, "tenant", s.tenant, "alg", alg)
		}
	}
}

// signedSet is a tenant's set whose signature is right.
type signedSet struct {
	keys   []*jwks.Key
	claims []byte
}

// verify checks a signed set by the rules of package jwks. Without a pin it must be signed by
// one of its own keys: that it is Keyward's is known by TLS then, that it is whole and has not
// expired by the signature.
func verify(ctx context.Context, text []byte, pin *jwks.Pin, now func() time.Time) (*signedSet, error) {
	if pin == nil {
		pin = &jwks.Pin{Keys: payloadOf(text)}
	}
	c, err := jwks.New(jwks.Config{Local: jwks.Static(text), Pin: pin, MaxKeys: maxKeys, Now: now})
	switch {
	case err != nil && len(pin.Thumbprints) == 0:
		return nil, fmt.Errorf("%w: it has no keys", jwks.ErrNotSigned)
	case err != nil:
		return nil, err
	}
	defer c.Close()
	claims, err := c.Raw(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := c.Keys(ctx)
	if errors.Is(err, jwks.ErrNoSigningKeys) || errors.Is(err, jwks.ErrNoKeys) {
		err = nil // a bundle may be empty
	}
	return &signedSet{keys: keys, claims: claims}, err
}

// payloadOf returns the payload of a compact JWS that nobody has verified; nil if it has none.
func payloadOf(text []byte) []byte {
	parts := strings.Split(string(text), ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	return payload
}

// memory keeps the last set of a pinned tenant in this process.
type memory struct{ set []byte }

// Load implements [jwks.PinState].
func (m *memory) Load(context.Context) ([]byte, error) { return m.set, nil }

// Save implements [jwks.PinState].
func (m *memory) Save(_ context.Context, set []byte) error {
	m.set = set
	return nil
}
