package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// rediscoverAfter is how long an issuer's metadata is believed, so that a
	// jwks_uri that has moved is found with the next fetch after that.
	rediscoverAfter = 4 * time.Minute
	// rediscoverForced is the same for forced fetches, which have a reason to
	// believe that keys have changed.
	rediscoverForced = 30 * time.Second
)

// discovered is the address of the key set as an issuer's metadata names it. Only
// the fetch under way uses it, of which there is one at a time.
type discovered struct {
	address string
	at      instant
	doubted bool // the last fetch from it failed
}

// findURL returns the address of the key set, from the configuration or from the
// issuer's metadata. Metadata that cannot be fetched again is no reason to give up an
// address that is known.
func (c *Client) findURL(ctx context.Context, forced bool) (string, error) {
	if c.config.URL != "" {
		return c.config.URL, nil
	}
	now, believed := c.clock.read(), rediscoverAfter
	if forced {
		believed = rediscoverForced
	}
	known := c.found.address
	if known != "" && !c.found.doubted && c.found.at.within(believed, now) {
		return known, nil
	}
	if known != "" { // metadata that hangs must leave time for the set
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout/3)
		defer cancel()
	}
	address, err := c.discover(ctx, forced)
	switch {
	case err == nil:
		c.found = discovered{address: address, at: now}
		return address, nil
	case known == "":
		return "", err
	}
	c.config.Logger.Warn("Discovery failed; the last known JWKS URL is used", slog.String("url", redactURL(known)), slog.Any("error", err))
	return known, nil
}

// discover reads the metadata of OpenID Connect Discovery 1.0 section 4.1, and
// if there is none, that of RFC 8414 section 3.1.
func (c *Client) discover(ctx context.Context, forced bool) (string, error) {
	var failed []error
	for _, address := range metadataURLs(c.config.Issuer) {
		d, err := c.web.getDocument(ctx, address, nil, forced)
		found := ""
		if err == nil {
			found, err = c.parseMetadata(address, d.body)
		}
		if err == nil {
			return found, nil
		}
		failed = append([]error{err}, failed...) // the last one counts first
		if !meansAbsent(err) {
			break
		}
	}
	return "", errors.Join(failed...)
}

// meansAbsent reports whether the answer means that the document is not there.
// Servers, gateways and object stores say so in several ways: 400, 403, 404, 405,
// 410, 501, a page of HTML with 200, a redirect to a login elsewhere. An answer that
// may be another one soon is not among them.
func meansAbsent(err error) bool {
	failed := (*FetchError)(nil)
	if !errors.As(err, &failed) {
		return false
	}
	if errors.Is(err, errNotObject) || errors.Is(err, errRedirect) {
		return true
	}
	switch failed.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	case http.StatusNotImplemented:
		return true
	}
	return failed.Status/100 == 4
}

// metadataURLs returns where an issuer's metadata may be: one standard appends the
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

// parseMetadata returns the jwks_uri of a document, or with a pin its signed_jwks_uri, which must be of exactly the
// configured issuer (OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section
// 3.3).
func (c *Client) parseMetadata(address string, body []byte) (string, error) {
	member := "jwks_uri"
	if c.pin != nil {
		member = "signed_jwks_uri" // OpenID Federation 1.0 section 5.2.1
	}
	metadata, err := parseMembers(string(body), "issuer", member)
	if err == nil && metadata["issuer"] != c.config.Issuer {
		err = fmt.Errorf("the metadata is of the issuer %.200q, not of %.200q", metadata["issuer"], c.config.Issuer)
	}
	if err == nil {
		if err = c.config.checkURL(metadata[member]); err != nil {
			err = fmt.Errorf("%s: %w", member, err)
		}
	}
	if err != nil {
		return "", &FetchError{URL: redactURL(address), Status: http.StatusOK, Err: err}
	}
	return metadata[member], nil
}
