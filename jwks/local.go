package jwks

import (
	"context"
	"fmt"
	"os"
)

// Static returns a function that returns set, for [Config.Local].
func Static(set []byte) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return set, nil }
}

// File returns a function that reads a key set from a file, for [Config.Local]. A
// file that does not exist means no set.
func File(name string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		set, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			return nil, nil
		}
		return set, err
	}
}

// Env returns a function that reads a key set from an environment variable, for
// [Config.Local]. An unset or empty variable means no set.
func Env(name string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		if set := os.Getenv(name); set != "" {
			return []byte(set), nil
		}
		return nil, nil
	}
}

// fetchLocal asks for the local set, within the same limits on its size.
func (c *Client) fetchLocal(ctx context.Context, _ *copied, _ bool) (*copied, error) {
	raw, err := c.config.Local(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: the local one: %w", ErrJWKS, err)
	}
	if len(raw) == 0 {
		return c.noLocalSet(ctx)
	}
	return c.parseDocument(ctx, "local", &document{body: raw})
}

// noLocalSet returns a copy without keys, which needs no signature.
func (c *Client) noLocalSet(ctx context.Context) (*copied, error) {
	s, err := parseSet(ctx, []byte(`{"keys":[]}`), c.config.MaxEntries, c.config.MaxKeys, c.skipKey)
	if err != nil {
		return nil, err
	}
	return c.dateCopy(s, "local", nil), nil
}
