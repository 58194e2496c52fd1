package moving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/keyward/keyward/internal/loopback"
)

// Limits of a request to a source.
const (
	fetchTimeout = 15 * time.Second
	maxRedirects = 3
)

var errInsecureURL = errors.New("only https is allowed, or http on this machine: an attacker on the network could read or replace the keys")

// fetchDocument gets a document. It follows at most this number of redirects,
// and only to URLs as safe as the first; sources with private keys allow none.
func fetchDocument(ctx context.Context, address string, redirects int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%w: it is not a URL", ErrUnreadable)
	}
	if !isConfidential(u) {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, errInsecureURL)
	}
	client := &http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > redirects {
			return fmt.Errorf("redirected more than %d times", redirects)
		}
		if !isConfidential(req.URL) {
			return errInsecureURL
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not a URL", ErrUnreadable)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: it answers %s", ErrUnreadable, resp.Status)
	}
	return readAll(resp.Body)
}

// isConfidential reports whether a connection to u can be neither read nor
// changed: https, or http on this machine.
func isConfidential(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopback.IsHost(u.Hostname())
}

func isURL(source string) bool {
	u, err := url.Parse(source)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}
