package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/keyward/keyward/internal/retryafter"
)

var (
	errAddress     = errors.New("it is not an absolute URL without a fragment")
	errScheme      = errors.New("only https is allowed")
	errRedirect    = errors.New("a redirect leads to another host")
	errRedirects   = errors.New("too many redirects")
	errTooLong     = errors.New("the answer is too long")
	errNotModified = errors.New("the answer is that nothing has changed, but nothing was known")
)

const maxRedirects = 3

// web gets documents over HTTP within the limits of a configuration.
type web struct {
	config *Config
	client http.Client
}

func newWeb(c *Config) *web {
	w := &web{config: c, client: *c.HTTPClient}
	first := w.client.CheckRedirect
	w.client.CheckRedirect = func(to *http.Request, via []*http.Request) error {
		if err := w.checkRedirect(to, via); err != nil || first == nil {
			return err
		}
		return first(to, via)
	}
	return w
}

// checkRedirect lets a redirect lead only where the configuration does: an issuer
// that is taken over must not turn its verifiers against their own networks. Other
// hosts than the configured ones do not get the secrets of [Config.Header].
func (w *web) checkRedirect(to *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	if err := w.config.checkURL(to.URL.String()); err != nil {
		return err
	}
	if hostOf(to.URL) != hostOf(via[0].URL) && !w.config.isRedirectHost(to.URL) {
		return errRedirect
	}
	to.Header.Del("Referer") // the first URL may have a secret in its query
	forced := via[0].Header.Values("Cache-Control")
	w.config.setHeaders(to)
	if len(forced) > 0 {
		to.Header["Cache-Control"] = forced
	}
	return nil
}

// A document is an answer. Its body is nil if nothing has changed since prior.
type document struct {
	body   []byte
	header http.Header
	url    string // that answered, after redirects
}

// getDocument fetches a document. prior, if it is not nil, is a copy of it that
// may be still valid; forced bypasses caches on the way. Errors are *[FetchError]s.
func (w *web) getDocument(ctx context.Context, address string, prior *copied, forced bool) (*document, error) {
	request, err := w.newRequest(ctx, address, prior, forced)
	if err != nil {
		return nil, fetchError(address, 0, err)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, fetchError(address, 0, err)
	}
	defer response.Body.Close()
	d := &document{header: response.Header, url: cmp.Or(response.Request, request).URL.String()}
	switch status := response.StatusCode; {
	case status == http.StatusNotModified && prior != nil && d.url == prior.finalURL:
		return d, nil
	case status == http.StatusNotModified && prior != nil: // of another document: the redirect has changed
		return w.getDocument(ctx, address, nil, forced)
	case status == http.StatusNotModified:
		return nil, fetchError(address, status, errNotModified)
	case status != http.StatusOK:
		failed := fetchError(address, status, fmt.Errorf("the answer is %.100s", response.Status))
		failed.after = min(retryafter.Parse(response.Header, w.config.Now()), maxRetryAfter)
		return nil, failed
	}
	d.body, err = io.ReadAll(io.LimitReader(response.Body, w.config.MaxBody+1))
	if err == nil && int64(len(d.body)) > w.config.MaxBody {
		err = errTooLong
	}
	if err != nil {
		return nil, fetchError(address, response.StatusCode, err)
	}
	return d, nil
}

// fetchError names the address, but not the secrets that it or err may have.
func fetchError(address string, status int, err error) *FetchError {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &FetchError{URL: redactURL(address), Status: status, Err: err}
}

func (w *web) newRequest(ctx context.Context, address string, prior *copied, forced bool) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	if w.config.Pin != nil {
		request.Header.Set("Accept", "application/jwk-set+jwt, application/json")
	}
	w.config.setHeaders(request)
	if forced {
		request.Header.Set("Cache-Control", "no-cache")
	}
	if prior != nil && prior.etag != "" {
		request.Header.Set("If-None-Match", prior.etag)
	} else if prior != nil {
		request.Header.Set("If-Modified-Since", prior.modified)
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	return request, nil
}

// serverRetryAfter returns the Retry-After of the answer that err is about, else 0.
func serverRetryAfter(err error) time.Duration {
	if failed := (*FetchError)(nil); errors.As(err, &failed) {
		return failed.after
	}
	return 0
}

// RetryAfter returns, for an error of this package, how many whole seconds to wait
// before another try is worth it, in the form of the HTTP field Retry-After; "" if
// that is not known. It is at least "1". An issuer's own Retry-After counts up to
// a minute.
func RetryAfter(err error) string {
	after := serverRetryAfter(err)
	if limited := (*RateLimitError)(nil); errors.As(err, &limited) {
		after = max(limited.RetryAfter, 1)
	}
	if after <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10)
}
