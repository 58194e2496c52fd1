package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// apiCaller sends requests of the Go client to the admin API in this process.
type apiCaller struct {
	c      *Console
	from   *http.Request // the browser's
	id     string        // its X-Request-Id, which audit events name
	caller Caller
}

// Do implements [client.HttpRequestDoer].
func (a apiCaller) Do(req *http.Request) (*http.Response, error) {
	req.RemoteAddr, req.Host, req.TLS = a.from.RemoteAddr, a.from.Host, a.from.TLS
	req.RequestURI = req.URL.RequestURI()
	req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/1.1", 1, 1
	for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
		if v := a.from.Header[name]; v != nil {
			req.Header[name] = v
		}
	}
	req.Header.Set("X-Request-Id", a.id)
	if req.Body == nil {
		req.Body = http.NoBody
	}
	answer := &recorder{header: http.Header{}, status: http.StatusOK}
	a.c.cfg.API(answer, req, a.caller)
	return &http.Response{
		StatusCode: answer.status, Header: answer.header, Request: req,
		Body: io.NopCloser(bytes.NewReader(answer.body.Bytes())), ContentLength: int64(answer.body.Len()),
	}, nil
}

// recorder keeps an answer of the API. Lists have at most 500 items.
type recorder struct {
	header http.Header
	status int
	begun  bool
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if !r.begun {
		r.begun, r.status = true, status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.begun = true
	return r.body.Write(p)
}

// newAPI returns a client of the admin API that acts for the session's owner.
func (c *Console) newAPI(r *http.Request, requestID string, caller Caller) *client.Client {
	requests, err := client.NewClient("http://keyward.internal", client.WithHTTPClient(apiCaller{c, r, requestID, caller}))
	if err != nil {
		panic(err) // the address above is one
	}
	return &client.Client{Requests: requests}
}

// streamEvents passes the API's event stream on to the page: of the tenant of the
// query, or of the platform.
func streamEvents(v *visit) error {
	path := "/v1/events"
	if ref := v.r.URL.Query().Get("tenant"); ref != "" {
		path = "/v1/tenants/" + url.PathEscape(ref) + "/events"
	}
	return v.passOn(path, "")
}

// isProblem reports whether the API refused with a code.
func isProblem(err error, codes ...client.ProblemCode) bool {
	var p *client.Problem
	if !errors.As(err, &p) {
		return false
	}
	for _, code := range codes {
		if p.Code == code {
			return true
		}
	}
	return false
}

// isUnavailable reports whether the database does not answer.
func isUnavailable(err error) bool {
	return isProblem(err, client.ProblemCodeUnavailable) || errors.Is(err, tenant.ErrUnavailable)
}

// fetch is one of the calls that a page makes at once.
type fetch func(ctx context.Context) error
