package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"
)

// Accept requests an answer of another media type.
func Accept(mediaType string) RequestEditorFn { return setHeader("Accept", mediaType) }

// Once makes a request safe to repeat: the server keeps the first answer for a day. The
// package does so for every change, with a random key for each that its retries use
// again. Pass a key of your own to resume after a restart of your process, or that of a
// [Problem] or a [NoAnswerError] whose outcome is unknown.
func Once(key string) RequestEditorFn { return setHeader(headerKey, key) }

// NewKey returns a random key for [Once].
func NewKey() string { return rand.Text() }

// Patiently allows an answer that much time, in place of 30 seconds: the work for
// some answers grows with the amount of stored data. The request is not retried.
func Patiently(most time.Duration) RequestEditorFn {
	return func(_ context.Context, req *http.Request) error {
		*req = *req.WithContext(context.WithValue(req.Context(), patienceKey{}, most))
		return nil
	}
}

type patienceKey struct{}

// answerLimit returns the time that [Patiently] gives a request, else 0.
func answerLimit(req *http.Request) time.Duration {
	d, _ := req.Context().Value(patienceKey{}).(time.Duration)
	return d
}

// setHeader sets a header field of a request.
func setHeader(name, value string) RequestEditorFn {
	return func(_ context.Context, req *http.Request) error {
		req.Header.Set(name, value)
		return nil
	}
}

// Certified makes the deletion of a tenant return its certificate.
func Certified() RequestEditorFn { return setHeader("Prefer", "return=representation") }
