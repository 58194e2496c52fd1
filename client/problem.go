package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/retryafter"
)

// Problem is an error answer of the API (RFC 9457). Get it with errors.As, and
// decide by its Code.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Code   ProblemCode  `json:"code"`
	Errors []FieldError `json:"errors,omitempty"`
	// Outcome says of a failed change whether it may have been made; empty otherwise.
	Outcome Outcome `json:"outcome,omitempty"`

	// RetryAfter is how long the server wants one to wait, 0 if it did not say.
	RetryAfter time.Duration `json:"-"`
	// RequestID names the request in the server's logs and audit events.
	RequestID string `json:"-"`
	// IdempotencyKey is what the request was sent with. Repeat it with [Once] if the
	// Outcome is unknown.
	IdempotencyKey string `json:"-"`
}

// Outcome is what is known of a change that failed.
type Outcome string

// Outcomes of a change that failed.
const (
	OutcomeUnchanged Outcome = "unchanged" // nothing was changed
	OutcomeUnknown   Outcome = "unknown"   // it may have been changed
)

// NoAnswerError means that a change was sent and not answered: it may have been made.
// The same request with the same key ([Once]) makes it, or returns the first answer.
type NoAnswerError struct {
	IdempotencyKey string
	Err            error
}

// Error returns the text of Err.
func (e *NoAnswerError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *NoAnswerError) Unwrap() error { return e.Err }

// Error returns the title, the detail and the error of each field.
func (p *Problem) Error() string {
	text := strings.Trim(p.Title+": "+p.Detail, ": ")
	for _, f := range p.Errors {
		text += "\n  " + strings.TrimSpace(f.Field+" "+f.Message)
	}
	if p.Status >= 500 && p.RequestID != "" {
		text += "\n  request " + p.RequestID
	}
	return fmt.Sprintf("%s (%s, %d)", text, p.Code, p.Status)
}

// Passing reports whether the same request may succeed later.
func (p *Problem) Passing() bool { return isPassing(p.Status) }

// isPassing reports whether a status is temporary.
func isPassing(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusBadGateway ||
		status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// problemFrom reads the problem in an answer. An answer that does not come from
// Keyward gives its status alone: its text can be anything.
func problemFrom(resp *http.Response, text []byte) *Problem {
	p := new(Problem)
	if json.Unmarshal(text, p) != nil || p.Code == "" {
		p = &Problem{Title: "the answer is not one of Keyward's", Detail: http.StatusText(resp.StatusCode), Code: "unknown"}
	}
	p.Status, p.RequestID = resp.StatusCode, resp.Header.Get("X-Request-Id")
	if resp.Request != nil {
		p.IdempotencyKey = resp.Request.Header.Get(headerKey)
	}
	p.RetryAfter = retryafter.Parse(resp.Header, time.Now())
	return p
}
