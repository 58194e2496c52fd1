package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/internal/retryafter"
)

// maxAnswer is the number of bytes read of a response, so that its connection can be
// reused.
const maxAnswer = 4 << 10

// Headers of a request.
const (
	signatureHeader = "Keyward-Signature"
	deliveryHeader  = "Keyward-Delivery"
	eventHeader     = "Keyward-Event"
)

// body is the body of a request. The signature covers all of it.
type body struct {
	ID        uuid.UUID       `json:"id"`         // of the delivery, the same in each attempt
	WebhookID uuid.UUID       `json:"webhook_id"` // the receiver checks that it is its own webhook
	Attempt   int             `json:"attempt"`    // 1, 2, …
	SentAt    time.Time       `json:"sent_at"`    // the receiver refuses old requests
	Event     json.RawMessage `json:"event"`
}

// request is what is posted.
type request struct {
	header http.Header
	body   []byte
}

// renderRequest returns the request of an attempt, in the webhook's format.
func (s *Sender) renderRequest(ctx context.Context, c claim, d dueDelivery, at time.Time) (request, error) {
	e, err := s.cfg.Audit.Get(ctx, d.eventTenantID, d.eventSeq)
	if err != nil {
		return request{}, err
	}
	if c.format == SET {
		set, err := s.cfg.Signer.SignSET(ctx, e, d.id, audienceOf(c.url), at)
		return request{http.Header{"Content-Type": {"application/secevent+jwt"}, "Accept": {"application/json"}}, []byte(set)}, err // RFC 8935 section 2.1
	}
	event, err := s.cfg.Render(e)
	if err != nil {
		return request{}, err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body{ID: d.id, WebhookID: c.id, Attempt: d.attempts + 1, SentAt: at, Event: event}); err != nil {
		return request{}, err
	}
	signed := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	signature, err := s.cfg.Signer.Sign(ctx, signed)
	return request{http.Header{
		"Content-Type": {"application/json"}, signatureHeader: {signature}, deliveryHeader: {d.id.String()}, eventHeader: {string(e.Action)},
	}, signed}, err
}

// audienceOf returns the aud of a receiver's SETs: the origin of its URL, whose path may
// be a secret.
func audienceOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// post sends one request and returns the response, or the class of its error.
func (t *targets) post(ctx context.Context, target string, content request) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(content.body))
	if err != nil {
		return answer{class: "invalid_url"}
	}
	r.Header = content.header
	r.Header.Set("User-Agent", "Keyward-Webhook/1")
	r, connected := traceConnection(r)
	res, err := t.client(r.URL.Scheme).Do(r)
	if err != nil {
		return answer{class: errorClass(err, connected()), cause: causeOf(err)}
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	a := answerOf(res)
	a.cause = pushError(res, text)
	return a
}

// pushError returns why a receiver refuses a SET (RFC 8935 section 2.3), for the
// operator's log; empty if it says nothing of that form.
func pushError(res *http.Response, text []byte) string {
	var refusal struct{ Err, Description string }
	if res.StatusCode != http.StatusBadRequest || json.Unmarshal(text, &refusal) != nil || refusal.Err == "" {
		return ""
	}
	return strconv.Quote(fmt.Sprintf("%.64s: %.200s", refusal.Err, refusal.Description))
}

// answerOf classifies a response.
func answerOf(res *http.Response) answer {
	a := answer{status: res.StatusCode}
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return a
	case res.StatusCode >= 300 && res.StatusCode < 400:
		a.class = "redirected"
	case res.StatusCode == http.StatusGone:
		a.class = "gone"
	default:
		a.class = "refused"
	}
	a.retryAfter = retryafter.Parse(res.Header, time.Now())
	return a
}

// traceConnection returns the request with a trace, and a function that reports
// whether the request has had a connection to its receiver.
func traceConnection(r *http.Request) (traced *http.Request, connected func() bool) {
	var had atomic.Bool
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { had.Store(true) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				had.Store(true)
			}
		},
	}
	return r.WithContext(httptrace.WithClientTrace(r.Context(), trace)), had.Load
}

// errorClass returns the class of an error, as in the API. Every failure to connect has
// the same one: a tenant that could tell a name that does not resolve from one that
// leads to a private address would know which names the operator's network has.
func errorClass(err error, connected bool) string {
	var (
		network     net.Error
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case !connected:
		return "connection_failed"
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &record), errors.As(err, &alert),
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "tls_failed"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return "connection_failed"
}

// causeOf returns an error's text for the operator's log. The error of package net/http
// is left out: it has the whole URL, which may be a secret.
func causeOf(err error) string {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return err.Error()
}
