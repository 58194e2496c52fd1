package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// ProcessList knows the live processes of this Keyward: db.Listener.
type ProcessList interface {
	// Live returns how many processes were live a moment ago, this one included, and the
	// names of the others. It does not ask the database.
	Live() (live int, others []string)
	// Confirm waits, at most that long, until every live process serves every change that
	// was committed before the call, and returns the names of those that did not confirm.
	Confirm(ctx context.Context, wait time.Duration) (live int, unconfirmed []string)
}

const (
	maxWait        = 5 * time.Second // of Prefer: wait
	headerReplicas = "Keyward-Replicas"
	headerApplied  = "Preference-Applied"
)

// tellsReplicas lists the operations whose answers always tell of the replicas.
var tellsReplicas = map[string]bool{"revokeKey": true, "revokeActiveKey": true, "revokeAllKeys": true}

// answerChange answers a request that may change something. If it prefers to wait, the
// answer is given when every live process serves the change, or when the time is over.
func (s *gate) answerChange(c echo.Context, w *call, a permission, next echo.HandlerFunc) error {
	wait, preferred := preferredWait(c.Request().Header["Prefer"])
	if !a.writes || handDecoded[a.operation] || !preferred && !tellsReplicas[a.operation] {
		err := s.answerOnce(c, w, a, next)
		s.invalidateCaches(w, a)
		return err
	}
	r, response := c.Request(), c.Response()
	defer func() { c.SetRequest(r); c.SetResponse(response) }()
	answer, err := recordAnswer(c, response, func(c echo.Context) error { return s.answerOnce(c, w, a, next) })
	s.invalidateCaches(w, a)
	if err != nil {
		return err
	}
	c.SetResponse(response)
	replayed := answer.Header[headerIdempotentReplayed] != ""
	if tenant.ChangeMade(r.Context()) || replayed && answer.Status != http.StatusAccepted && !isPreview(answer.Body) {
		s.tellReplicas(&answer, w, wait, preferred)
	}
	return sendAnswer(c, answer, false)
}

// tellReplicas waits, and adds to an answer which processes serve the change.
func (s *gate) tellReplicas(a *tenant.Answer, w *call, wait time.Duration, preferred bool) {
	addReplicas(a, s.confirm(w.open, wait))
	if preferred {
		a.Header[headerApplied] = joinPreferences(a.Header[headerApplied], fmt.Sprintf("wait=%d", int(wait/time.Second)))
	}
}

// invalidateCaches invalidates the tenant's cache entries, also after an error: the
// change may have been committed.
func (s *gate) invalidateCaches(w *call, a permission) {
	if a.changes {
		s.cfg.caches().Changed(w.tenantID, w.slug)
	}
}

// confirm returns which live processes serve the changes made so far, after at most wait.
func (s *gate) confirm(ctx context.Context, wait time.Duration) Replicas {
	live, missing := 1, []string(nil)
	switch {
	case s.cfg.Processes == nil:
	case wait == 0:
		live, missing = s.cfg.Processes.Live()
	default:
		live, missing = s.cfg.Processes.Confirm(ctx, wait)
	}
	return Replicas{Live: live, Confirmed: live - len(missing), Unconfirmed: missing}
}

// preferredWait returns the wait of a Prefer header (RFC 7240 section 4.3), at most
// maxWait, and whether it has one. Of several the first counts; one that is no number of
// seconds is ignored.
func preferredWait(lines []string) (time.Duration, bool) {
	for _, preference := range strings.Split(strings.Join(lines, ","), ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		return min(time.Duration(n)*time.Second, maxWait), err == nil
	}
	return 0, false
}

func joinPreferences(applied, more string) string {
	if applied == "" {
		return more
	}
	return applied + ", " + more
}

// isPreview reports whether an answer is that of a dry run.
func isPreview(body []byte) bool {
	var preview struct {
		DryRun     bool            `json:"dry_run"`
		JWKSBefore json.RawMessage `json:"jwks_before"`
	}
	_ = json.Unmarshal(body, &preview) // an answer without a body is none
	return preview.DryRun || preview.JWKSBefore != nil
}

// addReplicas adds the member replicas to an answer that is an object, and the header
// field, which an answer without a body has too.
func addReplicas(a *tenant.Answer, replicas Replicas) {
	a.Header[headerReplicas] = fmt.Sprintf("live=%d, confirmed=%d", replicas.Live, replicas.Confirmed)
	body := bytes.TrimRight(a.Body, "\n")
	member, err := encodeJSON(replicas)
	if err != nil || len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
		return
	}
	comma := ","
	if len(body) == 2 {
		comma = ""
	}
	a.Body = fmt.Appendf(nil, "%s%s\"replicas\":%s}\n", body[:len(body)-1], comma, bytes.TrimRight(member, "\n"))
}
