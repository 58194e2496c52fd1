package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// rediscover is how long an issuer's metadata is believed.
const rediscover = 24 * time.Hour

// discovered is the key set's address as an issuer's metadata names it. Only
// the fetch under way uses it, of which there is one at a time.
type discovered struct {
	address string
	at      time.Time
}

// jwksURL asks the issuer where its keys are, unless it is known.
func (c *Client) jwksURL(ctx context.Context) (string, error) {
	if c.config.URL != "" {
		return c.config.URL, nil
	}
	now := c.config.Now()
	if c.found.address != "" && now.Sub(c.found.at) < rediscover {
		return c.found.address, nil
	}
	address, err := c.discover(ctx)
	if err != nil {
		return "", err
	}
	c.found = discovered{address, now}
	return address, nil
}

// discover reads the metadata of OpenID Connect Discovery 1.0 section 4.1, and
// where there is none, that of RFC 8414 section 3.1.
func (c *Client) discover(ctx context.Context) (string, error) {
	var err error
	for _, address := range metadataURLs(c.config.Issuer) {
		var body []byte
		body, _, err = c.web.get(ctx, address, nil)
		if err == nil {
			return c.readMetadata(address, body)
		}
		failed := (*FetchError)(nil)
		if !errors.As(err, &failed) || failed.Status != http.StatusNotFound {
			return "", err
		}
	}
	return "", err
}

// metadataURLs are where an issuer's metadata may be: one standard appends the
// well-known part to the issuer's path, the other inserts it before.
func metadataURLs(issuer string) []string {
	const appended, inserted = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	u, err := url.Parse(issuer)
	if err != nil { // cannot be: the configuration was checked
		return nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	return []string{origin + path + appended, origin + inserted + path}
}

// readMetadata believes a document only if it is of exactly that issuer
// (OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3).
func (c *Client) readMetadata(address string, body []byte) (string, error) {
	var metadata struct {
		Issuer string `json:"issuer"`
		URL    string `json:"jwks_uri"`
	}
	err := json.Unmarshal(body, &metadata)
	if err == nil && metadata.Issuer != c.config.Issuer {
		err = errors.New("the metadata is of another issuer")
	}
	if err == nil {
		if err = c.config.allowed(metadata.URL); err != nil {
			err = fmt.Errorf("jwks_uri: %w", err)
		}
	}
	if err != nil {
		return "", &FetchError{URL: redacted(address), Status: http.StatusOK, Err: err}
	}
	return metadata.URL, nil
}
