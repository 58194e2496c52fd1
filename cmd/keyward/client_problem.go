package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// problem is an error that the API answered (RFC 9457).
type problem struct {
	Status    int                               `json:"status"`
	Title     string                            `json:"title"`
	Detail    string                            `json:"detail"`
	Code      string                            `json:"code"`
	Fields    []struct{ Field, Message string } `json:"errors"`
	requestID string
}

// Error says what to do about it, field by field.
func (p *problem) Error() string {
	text := strings.Trim(p.Title+": "+p.Detail, ": ")
	for _, f := range p.Fields {
		text += "\n  " + strings.TrimSpace(f.Field+" "+f.Message)
	}
	if p.Status >= 500 && p.requestID != "" {
		text += "\n  request " + p.requestID
	}
	return fmt.Sprintf("%s (%s, %d)", text, p.Code, p.Status)
}

// passing reports whether the same request may fare better later.
func (p *problem) passing() bool {
	return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable
}

func refusal(resp *http.Response, answer []byte) error {
	p := problem{requestID: resp.Header.Get("X-Request-Id")}
	if json.Unmarshal(answer, &p) != nil || p.Code == "" {
		return fmt.Errorf("what answers is not Keyward's admin API: %s", resp.Status)
	}
	return &p
}
