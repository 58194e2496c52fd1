package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// pageError is an error with words for people.
type pageError struct {
	Status int
	Title  string
	Detail string
}

var (
	errForm = &pageError{http.StatusBadRequest, "The form is too large or incomplete", "Go back and try again."}
	errAct  = &pageError{http.StatusBadRequest, "This is not something that can be done", "Go back and try again."}
)

// Error implements error.
func (e *pageError) Error() string { return "console: " + e.Title }

// fail shows an error to a signed-in person.
func (v *visit) fail(err error) {
	if errors.Is(err, context.Canceled) && v.r.Context().Err() != nil {
		return // the browser has left
	}
	if isUnavailable(err) || errors.Is(v.r.Context().Err(), context.DeadlineExceeded) {
		v.c.renderOutage(v.w, v.r, err)
		return
	}
	e, known := v.c.explain(err)
	if !known {
		v.c.cfg.Log.ErrorContext(v.r.Context(), "console: page failed", "request_id", v.w.Header().Get("X-Request-Id"), "error", err)
	}
	_ = v.renderStatus(e.Status, "error.html", e.Title, errorPage{e, v.w.Header().Get("X-Request-Id")})
}

type errorPage struct {
	*pageError
	RequestID string
}

// explain describes an error in words for people.
func (c *Console) explain(err error) (e *pageError, known bool) {
	var p *client.Problem
	var awaits *client.ApprovalError
	switch {
	case errors.As(err, &awaits):
		return &pageError{http.StatusAccepted, "Waiting for a second person", "Nothing was changed. Another person has to approve " + awaits.Approval.ID.String() +
			", which is among the approvals. Then repeat the same request with it, by the command line (--approval) or the API (Keyward-Approval)."}, true
	case errors.As(err, &e):
		return e, true
	case errors.Is(err, tenant.ErrUnauthenticated):
		return &pageError{http.StatusUnauthorized, "You are signed out", "Sign in again to go on."}, true
	case errors.As(err, &p):
		return explainProblem(p), p.Status < http.StatusInternalServerError
	}
	return &pageError{http.StatusInternalServerError, "Something went wrong here", "It is in the log of the server, under the number below."}, false
}

var problemTitles = map[client.ProblemCode]string{
	client.ProblemCodeTenantNotFound:    "There is no such tenant",
	client.ProblemCodeKeyNotFound:       "There is no such key",
	client.ProblemCodeNotFound:          "This does not exist",
	client.ProblemCodeForbidden:         "Your role does not allow this",
	client.ProblemCodeRateLimited:       "Too many requests",
	client.ProblemCodeTenantSuspended:   "The tenant is suspended",
	client.ProblemCodeConflict:          "Somebody was faster, or it is not possible now",
	client.ProblemCodeInvalidTransition: "The key is not in a state that allows this",
	client.ProblemCodePolicyViolation:   "This would break a promise of the platform",
	client.ProblemCodeInvalidRequest:    "Something in the form is not accepted",
	client.ProblemCodePayloadTooLarge:   "This is too large",
}

func explainProblem(p *client.Problem) *pageError {
	title := problemTitles[p.Code]
	if title == "" {
		title = p.Title
	}
	detail := p.Detail
	for _, f := range p.Errors {
		detail = strings.TrimSpace(detail + " " + f.Field + " " + f.Message + ".")
	}
	if detail == "" {
		detail = p.Title
	}
	if strings.TrimSuffix(detail, ".") == title { // said in the title already
		detail = ""
		if p.Status == http.StatusNotFound {
			detail = "It was deleted, or the address is not quite right."
		}
	}
	return &pageError{p.Status, title, detail}
}

// formErrors returns the faults of the fields of a form, and whether the
// error is of a kind that the form can show. A fault of an item of a list is shown at the
// field of the list, with the number of the item.
func formErrors(err error) (map[string]string, string, bool) {
	return formErrorsOf(err, func(string, int) (field, item string) { return "", "" })
}

// formErrorsOf is formErrors for a form whose fields have lists in them: nameItem returns the
// field that has an item of a list of the request and what the form calls the item, "" if it
// does not know it.
func formErrorsOf(err error, nameItem func(list string, i int) (field, item string)) (map[string]string, string, bool) {
	var p *client.Problem
	if !errors.As(err, &p) || p.Status >= http.StatusInternalServerError || p.Status == http.StatusNotFound || p.Status == http.StatusForbidden {
		return nil, "", false
	}
	fields := map[string]string{}
	for _, f := range p.Errors {
		name, message := placeFault(f, nameItem)
		fields[name] = strings.TrimSpace(fields[name] + " " + message)
	}
	detail := p.Detail
	if detail == "" && len(fields) == 0 {
		detail = explainProblem(p).Title + "."
	}
	return fields, detail, true
}

// placeFault returns the field of a form that has a fault, and what to say there. A field of
// a request is a path as in policies[0].alg, of which forms have the last part.
func placeFault(f client.FieldError, nameItem func(list string, i int) (field, item string)) (name, message string) {
	for part := range strings.SplitSeq(f.Field, ".") {
		list, i, isItem := parseItem(part)
		if field, item := nameItem(list, i); isItem && field != "" {
			return field, item + ": " + f.Message + "."
		}
		name, message = list, f.Message
		if isItem {
			message = fmt.Sprintf("Item %d: %s.", i+1, f.Message)
		}
	}
	return name, message
}

// parseItem splits a part of a path as in actions[2].
func parseItem(part string) (list string, i int, isItem bool) {
	list, number, found := strings.Cut(strings.TrimSuffix(part, "]"), "[")
	i, err := strconv.Atoi(number)
	return list, i, found && err == nil
}

// fail shows an error to whoever it is.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, known := c.explain(err)
	if !known {
		c.cfg.Log.ErrorContext(r.Context(), "console: page failed", "request_id", w.Header().Get("X-Request-Id"), "error", err)
	}
	c.renderError(w, r, e)
}

func (c *Console) renderError(w http.ResponseWriter, _ *http.Request, e *pageError) {
	c.views().render(w, e.Status, "plainerror.html", errorPage{e, w.Header().Get("X-Request-Id")})
}
