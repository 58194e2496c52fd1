package httpapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys/signing"
)

// maxBatch is how many tokens one request may ask for.
const maxBatch = 1000

// entry is one token of a batch: the request for it, then the answer.
type entry struct {
	raw   []byte
	token []byte // a [SignedToken]
	err   error
}

// readBatch splits a batch. An entry is decoded only when it is signed, so that
// a fault in one fails that entry alone.
func readBatch(c echo.Context) ([]entry, error) {
	body, err := readBody(c.Request())
	if err != nil {
		return nil, err
	}
	if entries, ok := quickBatch(body); ok {
		return entries, nil
	}
	return decodeBatch(body)
}

// quickBatch splits a batch in one pass of the tokenizer. It reports false for
// any fault outside of the entries.
func quickBatch(body []byte) (entries []entry, ok bool) {
	if !utf8.Valid(body) {
		return nil, false
	}
	dec := borrowDecoder(body, lenient)
	defer decoders.Put(dec)
	if !readKind(dec, '{') {
		return nil, false
	}
	if name, err := dec.ReadToken(); err != nil || name.Kind() != '"' || name.String() != "tokens" || !readKind(dec, '[') {
		return nil, false
	}
	for dec.PeekKind() != ']' {
		raw := strictjson.ReadRaw(dec, body)
		if raw == nil || len(entries) == maxBatch {
			return nil, false
		}
		entries = append(entries, entry{raw: raw})
	}
	return entries, len(entries) > 0 && readKind(dec, ']') && readKind(dec, '}') && strictjson.AtEnd(dec)
}

// decodeBatch splits any batch, and names its first fault outside of the
// entries.
func decodeBatch(body []byte) ([]entry, error) {
	var all struct {
		Tokens []Deferred `json:"tokens"`
	}
	if len(body) == 0 {
		return nil, errNoBody()
	}
	if err := decodeStrict(body, &all); err != nil {
		return nil, err
	}
	if n := len(all.Tokens); n < 1 || n > maxBatch {
		return nil, invalidField("tokens", "must have between 1 and "+strconv.Itoa(maxBatch)+" items")
	}
	entries := make([]entry, len(all.Tokens))
	for i, raw := range all.Tokens {
		entries[i].raw = raw
	}
	return entries, nil
}

// SignTokens signs a batch of tokens. Each entry is decoded, signed and encoded
// by one goroutine, so that no core waits while another one decodes or encodes
// the whole batch.
func (s *tokenServer) SignTokens(c echo.Context, _ TenantPath) error {
	entries, err := readBatch(c)
	if err != nil {
		return err
	}
	err = s.cfg.Signer.SignTokens(c.Request().Context(), callOf(c).tenantID.String(), len(entries),
		func(i int, sign signing.SignFunc) { entries[i].decodeAndSign(sign) })
	if err != nil {
		return err
	}
	return s.replyBatch(c, entries)
}

// decodeAndSign decodes and signs the entry. It recovers from a panic, since no middleware
// is on the stack of its goroutine.
func (e *entry) decodeAndSign(sign signing.SignFunc) {
	defer recoverPanic(&e.err)
	order, err := readOrder(e.raw)
	if err != nil {
		e.err = err
		return
	}
	token, err := sign(order)
	if err != nil {
		e.err = err
		return
	}
	e.token = appendToken(nil, token)
}

// replyBatch answers a [SignTokensResult]: for each entry a token or a problem.
func (s *tokenServer) replyBatch(c echo.Context, entries []entry) error {
	size := 64
	for _, e := range entries {
		size += len(e.token) + 1
	}
	out := append(make([]byte, 0, size), `{"results":[`...)
	for i, e := range entries {
		if i > 0 {
			out = append(out, ',')
		}
		if e.err == nil {
			out = append(out, e.token...)
			continue
		}
		refused, err := encodeJSON(s.entryProblem(c, e.err))
		if err != nil {
			return err
		}
		out = append(out, bytes.TrimSuffix(refused, []byte("\n"))...)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, append(out, "]}\n"...))
}

// entryProblem returns the problem of one entry. Server errors are logged like
// those of a single request.
func (s *tokenServer) entryProblem(c echo.Context, err error) BatchResult {
	p, known := problemOf(err)
	if !known || p.Status >= http.StatusInternalServerError {
		logFailure(s.cfg.Log.With(slog.Bool("in_batch", true)), c, err, p)
	}
	return BatchResult{Error: p}
}
