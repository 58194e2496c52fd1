package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

const (
	problemJSON = "application/problem+json" // RFC 9457 section 3
	answeredKey = "keyward.answered"         // set once an error was answered
	retryLater  = 5 * time.Second            // Retry-After where nothing better is known
)

// ErrorHandler answers every error with a problem (RFC 9457). Server errors are
// logged once, with the request id; client errors are not logged.
func ErrorHandler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Get(answeredKey) != nil { // a middleware asked for the answer before
			return
		}
		c.Set(answeredKey, true)
		p, known := problemOf(err)
		p = p.withOutcome(err)
		if !known || p.Status >= http.StatusInternalServerError {
			logFailure(log, c, err, p)
		}
		if c.Response().Committed {
			return
		}
		problemHeaders(c.Response().Header(), err, p)
		if err := writeProblem(c, p); err != nil {
			log.DebugContext(c.Request().Context(), "response not written", "error", err)
		}
	}
}

// logFailure logs a failed request and its error. It logs the route instead of
// the path, so that a client cannot write into the log.
func logFailure(log *slog.Logger, c echo.Context, err error, p *Problem) {
	level := slog.LevelError
	switch {
	case errors.Is(err, context.Canceled): // the client left
		level = slog.LevelDebug
	case p.Code == ProblemCodeUnavailable:
		level = slog.LevelWarn
	}
	log.LogAttrs(c.Request().Context(), level, "request failed",
		slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)),
		slog.String("method", c.Request().Method),
		slog.String("route", c.Path()),
		slog.String("code", string(p.Code)),
		slog.Any("error", err))
}

// problemHeaders sets the headers that a status requires. Server errors are
// never cached; client errors only if the handler has set Cache-Control.
func problemHeaders(h http.Header, err error, p *Problem) {
	if p.Status >= http.StatusInternalServerError || h.Get(echo.HeaderCacheControl) == "" {
		h.Set(echo.HeaderCacheControl, "no-store")
	}
	h.Del("ETag")
	h.Del(echo.HeaderLastModified)
	switch p.Code {
	case ProblemCodeUnauthenticated, ProblemCodeForbidden:
		h.Set(echo.HeaderWWWAuthenticate, authChallenge(err, p.Code))
	case ProblemCodeRateLimited, ProblemCodeUnavailable:
		if h.Get(echo.HeaderRetryAfter) == "" {
			h.Set(echo.HeaderRetryAfter, retryAfter(err))
		}
	}
}

// authChallenge returns the WWW-Authenticate header of RFC 6750 section 3. A
// request without a credential gets no error attribute.
func authChallenge(err error, code ProblemCode) string {
	const realm = `Bearer realm="keyward"`
	switch {
	case code == ProblemCodeForbidden:
		return realm + `, error="insufficient_scope"`
	case errors.Is(err, tenant.ErrUnauthenticated):
		return realm + `, error="invalid_token"`
	default:
		return realm
	}
}

// retryAfter returns the Retry-After header in whole seconds, rounded up (RFC
// 9110 section 10.2.3).
func retryAfter(err error) string {
	wait := retryLater
	var refusal interface{ RetryIn() time.Duration } // that knows when it is over
	switch {
	case errors.As(err, &refusal):
		wait = max(refusal.RetryIn(), time.Second)
	case errors.Is(err, tenant.ErrTooManyAnswers):
		wait = time.Hour // between two deletions of old answers
	}
	return strconv.Itoa(int(math.Ceil(wait.Seconds())))
}

func writeProblem(c echo.Context, p *Problem) error {
	body, err := encodeJSON(p)
	if err != nil {
		return err
	}
	if c.Request().Method == http.MethodHead {
		c.Response().Header().Set(echo.HeaderContentType, problemJSON)
		return c.NoContent(p.Status)
	}
	return c.Blob(p.Status, problemJSON, body)
}
