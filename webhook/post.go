package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/internal/retryafter"
)

// maxAnswer is the number of bytes read of a response, so that its connection can be
// reused. They are discarded.
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

	action string
	text   []byte
}

// renderBody returns the body of an attempt.
func (s *Sender) renderBody(ctx context.Context, c claim, d dueDelivery, at time.Time) (body, error) {
	e, err := s.cfg.Audit.Get(ctx, d.eventTenantID, d.eventSeq)
	if err != nil {
		return body{}, err
	}
	event, err := s.cfg.Render(e)
	if err != nil {
		return body{}, err
	}
	b := body{ID: d.id, WebhookID: c.id, Attempt: d.attempts + 1, SentAt: at, Event: event, action: string(e.Action)}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err = enc.Encode(b)
	b.text = bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	return b, err
}

// post sends one request and returns the response, or the class of its error.
func (t *targets) post(ctx context.Context, target string, b body, signature string) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(b.text))
	if err != nil {
		return answer{class: "invalid_url"}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Keyward-Webhook/1")
	r.Header.Set(signatureHeader, signature)
	r.Header.Set(deliveryHeader, b.ID.String())
	r.Header.Set(eventHeader, b.action)
	r, connected := traceConnection(r)
	res, err := t.client(r.URL.Scheme).Do(r)
	if err != nil {
		return answer{class: errorClass(err, connected()), cause: causeOf(err)}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	return answerOf(res)
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
