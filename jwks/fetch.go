package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
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
		if err := w.follow(to.URL, via); err != nil || first == nil {
			return err
		}
		return first(to, via)
	}
	return w
}

// follow lets a redirect lead only where the configuration does: an issuer
// that is taken over must not turn its verifiers against their own networks.
func (w *web) follow(to *url.URL, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	if err := w.config.allowed(to.String()); err != nil {
		return err
	}
	from := via[0].URL
	if to.Host != from.Host && !slices.Contains(w.config.RedirectHosts, to.Host) {
		return errRedirect
	}
	return nil
}

// get fetches a document. prior, if there is one, is what may be unchanged;
// then the body is nil. Errors are *[FetchError]s.
func (w *web) get(ctx context.Context, address string, prior *copied) ([]byte, http.Header, error) {
	fail := func(status int, err error) ([]byte, http.Header, error) {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // its URL may have a password
		}
		return nil, nil, &FetchError{URL: redacted(address), Status: status, Err: err}
	}
	request, err := w.request(ctx, address, prior)
	if err != nil {
		return fail(0, err)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return fail(0, err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotModified && prior != nil:
		return nil, response.Header, nil
	case response.StatusCode == http.StatusNotModified:
		return fail(response.StatusCode, errNotModified)
	case response.StatusCode != http.StatusOK:
		_, _, err := fail(response.StatusCode, fmt.Errorf("the answer is %s", response.Status))
		err.(*FetchError).after = time.Duration(max(seconds(response.Header.Get("Retry-After")), 0)) * time.Second
		return nil, nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, w.config.MaxBody+1))
	if err == nil && int64(len(body)) > w.config.MaxBody {
		err = errTooLong
	}
	if err != nil {
		return fail(response.StatusCode, err)
	}
	return body, response.Header, nil
}

func (w *web) request(ctx context.Context, address string, prior *copied) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	if prior != nil && prior.etag != "" {
		request.Header.Set("If-None-Match", prior.etag)
	} else if prior != nil {
		request.Header.Set("If-Modified-Since", prior.modified)
	}
	for name, values := range w.config.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	return request, nil
}

// retryAfter is what the issuer asked for with its refusal.
func retryAfter(err error) time.Duration {
	if failed := (*FetchError)(nil); errors.As(err, &failed) {
		return failed.after
	}
	return 0
}

// RetryAfter says, for an error of this package, how many whole seconds to wait
// before trying again is worth it, as the HTTP field Retry-After has them; ""
// if that is not known.
func RetryAfter(err error) string {
	if limited := (*RateLimitError)(nil); errors.As(err, &limited) {
		return strconv.Itoa(max(int((limited.RetryAfter+time.Second-1)/time.Second), 1))
	}
	if after := retryAfter(err); after > 0 {
		return strconv.Itoa(int(after / time.Second))
	}
	return ""
}
