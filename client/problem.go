package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/retryafter"
)

// Problem is an error that the API answered (RFC 9457). Use errors.As to get
// it; Code is what to decide by.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Code   ProblemCode  `json:"code"`
	Errors []FieldError `json:"errors,omitempty"`

	// RetryAfter is how long the server wants one to wait, 0 if it did not say.
	RetryAfter time.Duration `json:"-"`
	// RequestID names the request in the server's logs and audit events.
	RequestID string `json:"-"`
}

// Error says what is wrong, field by field.
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
func (p *Problem) Passing() bool { return passing(p.Status) }

func passing(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusBadGateway ||
		status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// refusal reads the problem that an answer is. One that does not come from
// Keyward has its status alone: its text may be anything.
func refusal(resp *http.Response, text []byte) *Problem {
	p := new(Problem)
	if json.Unmarshal(text, p) != nil || p.Code == "" {
		p = &Problem{Title: "the answer is not one of Keyward's", Detail: http.StatusText(resp.StatusCode), Code: "unknown"}
	}
	p.Status, p.RequestID = resp.StatusCode, resp.Header.Get("X-Request-Id")
	p.RetryAfter = retryafter.Parse(resp.Header, time.Now())
	return p
}
