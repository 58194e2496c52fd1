package httpapi

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests by operation and status, and verifications by result. A
// nil *metrics counts nothing.
type metrics struct {
	requests      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	verifications *prometheus.CounterVec
}

func newMetrics(cfg Config, doc *openapi3.T) (*metrics, error) {
	if cfg.Metrics == nil {
		return nil, nil
	}
	labels := []string{"operation", "status"}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyward_http_requests_total", Help: "Requests by operation of the API and status.",
		}, labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keyward_http_request_duration_seconds", Help: "Time from a request's header to its answer.",
			Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10},
		}, labels),
		verifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyward_token_verifications_total", Help: "Tokens verified through the API, by result: valid, or the code of the refusal.",
		}, []string{"result"}),
	}
	for _, result := range append([]string{"valid"}, verifyCodes(doc)...) { // counters begin at 0, so that rates see the first
		m.verifications.WithLabelValues(result)
	}
	return m, errors.Join(cfg.Metrics.Register(m.requests), cfg.Metrics.Register(m.seconds), cfg.Metrics.Register(m.verifications))
}

// verifyCodes returns the values of VerifyCode.
func verifyCodes(doc *openapi3.T) (codes []string) {
	for _, code := range doc.Components.Schemas["VerifyCode"].Value.Enum {
		codes = append(codes, code.(string))
	}
	return codes
}

// countVerification counts a verified token; the empty code stands for valid.
func (m *metrics) countVerification(code VerifyCode) {
	if m != nil {
		m.verifications.WithLabelValues(cmp.Or(string(code), "valid")).Inc()
	}
}

func (m *metrics) handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// counter counts one operation. The series of each status is looked up once.
type counter struct {
	metrics   *metrics
	operation string
	byStatus  [len(countedStatuses)]atomic.Pointer[series]
}

// countedStatuses are those whose series are kept by each counter; those of others are
// looked up each time.
var countedStatuses = [...]int{
	http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent, http.StatusNotModified, http.StatusBadRequest, http.StatusUnauthorized,
	http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable,
}

type series struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

func (m *metrics) of(operation string) *counter {
	if m == nil {
		return nil
	}
	return &counter{metrics: m, operation: operation}
}

func (c *counter) observe(status int, took time.Duration) {
	if c == nil {
		return
	}
	s := c.seriesOf(status)
	s.requests.Inc()
	s.seconds.Observe(took.Seconds())
}

func (c *counter) seriesOf(status int) *series {
	slot := slices.Index(countedStatuses[:], status)
	if slot >= 0 {
		if s := c.byStatus[slot].Load(); s != nil {
			return s
		}
	}
	label := strconv.Itoa(status)
	s := &series{c.metrics.requests.WithLabelValues(c.operation, label), c.metrics.seconds.WithLabelValues(c.operation, label)}
	if slot >= 0 {
		c.byStatus[slot].Store(s)
	}
	return s
}

// localMetrics answers 404 to clients on other machines, if only local ones may read
// the metrics. A request that a proxy has forwarded is not local, wherever the proxy is.
func (s *server) localMetrics(next echo.HandlerFunc) echo.HandlerFunc {
	if !s.cfg.LocalMetrics {
		return next
	}
	return func(c echo.Context) error {
		r := c.Request()
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		forwarded := r.Header.Get("Forwarded") + r.Header.Get("X-Forwarded-For") + r.Header.Get("Via")
		if err != nil || !peer.Addr().Unmap().IsLoopback() || forwarded != "" {
			return newProblem(ProblemCodeNotFound, "")
		}
		return next(c)
	}
}
