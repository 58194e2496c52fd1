package httpapi

import (
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/keyward/keyward/internal/callstack"
)

// handle wraps the handler of every route: it assigns a request id, turns
// panics and errors into problems, and counts the request. The chain is built
// once, at registration.
func (s *server) handle(operation string, next echo.HandlerFunc) echo.HandlerFunc {
	count := s.metrics.of(operation)
	next = s.limitByAddress(operation, next)
	return func(c echo.Context) error {
		start := sinceStart()
		s.ids.set(c)
		if s.cfg.Tracing {
			nameSpan(c, operation)
		}
		if err := callHandler(next, c); err != nil {
			s.handleError(err, c)
		}
		took := sinceStart() - start
		count.observe(c.Response().Status, took)
		if level := s.requestLevel(c.Response().Status); s.cfg.Log.Enabled(c.Request().Context(), level) {
			s.logRequest(c, level, operation, took)
		}
		return nil
	}
}

// sinceStart is a monotonic clock for durations. It costs half as much as
// time.Now, which also reads the wall clock.
func sinceStart() time.Duration { return time.Since(started) }

var started = time.Now()

// handlerPanic carries the value of a handler's panic to the log; the caller
// never sees it.
type handlerPanic struct {
	value any
	stack string
}

// Error returns a panic's text or error with its stack, which has no arguments.
// Of any other value, which may contain secrets, it returns only the type.
func (e *handlerPanic) Error() string {
	switch e.value.(type) {
	case error, string:
		return fmt.Sprintf("httpapi: panic: %v\n%s", e.value, e.stack)
	}
	return fmt.Sprintf("httpapi: panic: a %T\n%s", e.value, e.stack)
}

func callHandler(next echo.HandlerFunc, c echo.Context) (err error) {
	defer recoverPanic(&err)
	return next(c)
}

// recoverPanic, deferred, turns a panic into an error.
func recoverPanic(err *error) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler: // closes the connection
		panic(v)
	default:
		*err = &handlerPanic{v, callstack.OfPanic()}
	}
}

// nameSpan names the span of a request by its operation, and adds route and request id.
func nameSpan(c echo.Context, operation string) {
	span := trace.SpanFromContext(c.Request().Context())
	span.SetName(operation)
	span.SetAttributes(attribute.String("http.route", c.Path()), attribute.String("keyward.request_id", c.Response().Header().Get(echo.HeaderXRequestID)))
}

// requestLevel returns the level at which a request is logged: info for those of the
// sample and, if there is one, for failures of the server.
func (s *server) requestLevel(status int) slog.Level {
	if s.cfg.AccessLog > 0 && (status >= http.StatusInternalServerError || rand.Float64() < s.cfg.AccessLog) { // #nosec G404 -- a sample
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// logRequest logs a request. It logs the route instead of the path, so that a
// client cannot write into the log.
func (s *server) logRequest(c echo.Context, level slog.Level, operation string, took time.Duration) {
	s.cfg.Log.LogAttrs(c.Request().Context(), level, "request",
		slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)),
		slog.String("method", c.Request().Method),
		slog.String("route", c.Path()),
		slog.String("operation", operation),
		slog.Int("status", c.Response().Status),
		slog.Int64("bytes", c.Response().Size),
		slog.Duration("took", took),
		slog.String("client", s.clients.clientText(c.Request())))
}

// requestIDs generates ids that are unique across processes. They are not
// secret.
type requestIDs struct {
	process string
	count   *atomic.Uint64
}

func newRequestIDs() requestIDs { return requestIDs{crand.Text()[:13] + "-", new(atomic.Uint64)} }

// set sets X-Request-Id to the client's own id if that is valid, otherwise to a
// new id.
func (ids requestIDs) set(c echo.Context) {
	if given := c.Request().Header["X-Request-Id"]; len(given) == 1 && isRequestID(given[0]) {
		c.Response().Header()["X-Request-Id"] = given
		return
	}
	var buf [32]byte
	id := strconv.AppendUint(append(buf[:0], ids.process...), ids.count.Add(1), 32)
	c.Response().Header()["X-Request-Id"] = []string{string(id)}
}

// isRequestID reports whether an id matches ^[A-Za-z0-9._-]{1,64}$, which is
// safe in a header, a log and a row.
func isRequestID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}
