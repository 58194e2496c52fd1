package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// IssuersConfig says whose tokens are accepted.
type IssuersConfig struct {
	// Allow are issuers that are accepted, exactly as their iss claim is.
	Allow []string
	// AllowFunc decides about other issuers: nil accepts. It is called for each token
	// of an issuer that has no client yet, so it should refuse quickly. If it is nil,
	// other issuers are refused.
	AllowFunc func(ctx context.Context, issuer string) error
	// ConfigFor returns the configuration of an accepted issuer's client, if Keys with
	// the issuer filled in, and so discovery, does not fit all.
	ConfigFor func(ctx context.Context, issuer string) (Config, error)
	// Keys is the configuration of each client.
	Keys Config
	// Max bounds the number of clients; the least recently used ones are dropped. 0
	// is 1000.
	Max int
}

// Issuers has the clients of many issuers, made as their tokens come. It is
// safe for concurrent use; finding a client that is there takes no lock.
type Issuers struct {
	config  IssuersConfig
	clients sync.Map     // of issuer to *tenant
	tick    atomic.Int64 // goes on with each client that is added

	mu    sync.Mutex // held while a client is added
	count int
}

type tenant struct {
	*Client
	used atomic.Int64 // the tick of its last use
}

// NewIssuers returns an empty collection. Its errors wrap [ErrArgument].
func NewIssuers(config IssuersConfig) (*Issuers, error) {
	if len(config.Allow) == 0 && config.AllowFunc == nil {
		return nil, argumentError("neither Allow nor AllowFunc is given")
	}
	if config.Max < 0 {
		return nil, argumentError("Max is negative")
	}
	config.Allow = slices.Clone(config.Allow)
	config.Max = cmp.Or(config.Max, 1000)
	s := &Issuers{config: config}
	for _, issuer := range config.Allow {
		if _, err := s.make(context.Background(), issuer); err != nil && config.ConfigFor == nil {
			return nil, err
		}
	}
	return s, nil
}

// Client returns the client of an issuer. The error is [ErrIssuer] if the issuer is not
// accepted, or no client can be made for it.
func (s *Issuers) Client(ctx context.Context, issuer string) (*Client, error) {
	if known, ok := s.clients.Load(issuer); ok {
		t := known.(*tenant)
		if now := s.tick.Load(); t.used.Load() != now {
			t.used.Store(now)
		}
		return t.Client, nil
	}
	if err := s.allowed(ctx, issuer); err != nil {
		return nil, err
	}
	client, err := s.make(ctx, issuer)
	if errors.Is(err, ErrArgument) { // the issuer's name is the one thing that was not checked before
		return nil, fmt.Errorf("%w: %w", unknownIssuer(issuer), err)
	}
	if err != nil {
		return nil, err
	}
	return s.add(issuer, client), nil
}

func (s *Issuers) allowed(ctx context.Context, issuer string) error {
	switch {
	case slices.Contains(s.config.Allow, issuer):
		return nil
	case s.config.AllowFunc == nil || issuer == "":
		return unknownIssuer(issuer)
	}
	err := s.config.AllowFunc(ctx, issuer)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrJWKS) {
		return fmt.Errorf("%w: %w", unknownIssuer(issuer), err)
	}
	return err
}

func (s *Issuers) make(ctx context.Context, issuer string) (*Client, error) {
	config := s.config.Keys
	if s.config.ConfigFor != nil {
		var err error
		if config, err = s.config.ConfigFor(ctx, issuer); err != nil {
			return nil, err
		}
	}
	config.Issuer = cmp.Or(config.Issuer, issuer)
	return New(config)
}

// add stores a client, unless another goroutine has stored one meanwhile.
func (s *Issuers) add(issuer string, client *Client) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, ok := s.clients.Load(issuer); ok {
		return first.(*tenant).Client
	}
	if s.count >= s.config.Max {
		s.makeRoom()
	}
	t := &tenant{Client: client}
	t.used.Store(s.tick.Add(2) - 1) // whatever is used from now on is used later
	s.clients.Store(issuer, t)
	s.count++
	return client
}

// makeRoom drops a sixteenth of the clients, the least recently used ones, so that
// the search for them costs little per client.
func (s *Issuers) makeRoom() {
	type old struct {
		issuer any
		used   int64
	}
	var all []old
	s.clients.Range(func(issuer, t any) bool {
		all = append(all, old{issuer, t.(*tenant).used.Load()})
		return true
	})
	slices.SortFunc(all, func(a, b old) int { return int(a.used - b.used) })
	for _, o := range all[:min(len(all), 1+s.config.Max/16)] {
		s.clients.Delete(o.issuer)
		s.count--
	}
}

// Len returns the number of clients.
func (s *Issuers) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
