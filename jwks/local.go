package jwks

import (
	"context"
	"fmt"
	"net/http"
	"os"
)

// Static gives a key set that is at hand, for [Config.Local].
func Static(set []byte) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return set, nil }
}

// File reads a key set from a file, for [Config.Local]. A file that is not
// there is no set.
func File(name string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		set, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			return nil, nil
		}
		return set, err
	}
}

// Env reads a key set from a variable of the environment, for [Config.Local].
// An unset or empty variable is no set.
func Env(name string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		if set := os.Getenv(name); set != "" {
			return []byte(set), nil
		}
		return nil, nil
	}
}

// fetchLocal asks for the local set. It has no limits but those on its size.
func (c *Client) fetchLocal(ctx context.Context, _ *copied) (*copied, error) {
	raw, err := c.config.Local(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: the local one: %w", ErrJWKS, err)
	}
	if len(raw) == 0 {
		raw = []byte(`{"keys":[]}`)
	}
	return c.keep("local", raw, nil)
}

// unchanged is the header of a 304 answer with what it leaves out (RFC 9111
// section 4.3.4).
func unchanged(header http.Header, prior *copied) http.Header {
	full := header.Clone()
	if full.Get("ETag") == "" {
		full.Set("ETag", prior.etag)
	}
	if full.Get("Last-Modified") == "" {
		full.Set("Last-Modified", prior.modified)
	}
	if full.Get("Cache-Control") == "" && prior.control != "" {
		full.Set("Cache-Control", prior.control)
	}
	if full.Get(epochHeader) == "" && prior.epoch != "" {
		full.Set(epochHeader, prior.epoch)
	}
	return full
}
