package httpapi

import (
	"cmp"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// decodeBody decodes the body of a request into v: one JSON value of type
// application/json, in UTF-8, without duplicate, unknown or wrongly cased
// members. RFC 8259 section 4 leaves duplicates to the parser; two parsers that
// pick different members would check one value and sign another. Errors are
// [*Problem] or those of the body's reader.
func decodeBody(c echo.Context, v any) error {
	body, err := readBody(c.Request())
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return errNoBody()
	}
	return decodeStrict(body, v)
}

// decodeOptionalBody is decodeBody for an optional body; without one v stays
// unchanged.
func decodeOptionalBody(c echo.Context, v any) error {
	body, err := readBody(c.Request())
	if err != nil || len(body) == 0 {
		return err
	}
	return decodeStrict(body, v)
}

// decodeStrict is decodeBody for bytes in memory.
func decodeStrict(data []byte, v any) error {
	if err := checkJSON(data, reflect.TypeOf(v)); err != nil {
		return err
	}
	return wrongType(json.Unmarshal(data, v, lenient))
}

// wrongType names the member that has the wrong type, but not its value.
func wrongType(err error) error {
	var wrong *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.GoType != nil && !hasUnmarshaler(wrong.GoType):
		return invalidField(memberPath("", wrong.JSONPointer.Tokens()), "must be "+jsonKind(wrong.GoType))
	default:
		return newProblem(ProblemCodeInvalidRequest, "A member of the body has an invalid form.")
	}
}

// jsonKind returns the name of the JSON values that fit a Go type.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return jsonKind(t.Elem())
	default:
		return "an integer of 64 bits, written without fraction and exponent"
	}
}

// readBody returns the whole body, or nil if there is none. The gate has
// limited its length; the error of that limit is returned unchanged.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := readAll(r)
	if err != nil {
		return nil, bodyError(err)
	}
	if len(body) == 0 {
		return nil, nil
	}
	return body, mustBeJSON(r.Header.Get(echo.HeaderContentType))
}

// readAll allocates the announced length if that is small; otherwise the buffer
// grows as data arrives.
func readAll(r *http.Request) ([]byte, error) {
	if b, buffered := r.Body.(*bufferedBody); buffered {
		return b.take()
	}
	if r.ContentLength <= 0 || r.ContentLength > 64<<10 {
		return io.ReadAll(r.Body)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// bufferedBody is a body in memory, and the error with which it ended, if any.
type bufferedBody struct {
	io.Closer
	rest []byte
	err  error
}

// bufferBody reads the body into memory, from where it is read then, and returns how long
// that took.
func bufferBody(r *http.Request) time.Duration {
	if r.Body == nil || r.Body == http.NoBody {
		return 0
	}
	began := time.Now()
	body, err := readAll(r)
	r.Body = &bufferedBody{r.Body, body, err}
	return time.Since(began)
}

// Read implements [io.Reader].
func (b *bufferedBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, cmp.Or(b.err, io.EOF)
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// take returns the unread part.
func (b *bufferedBody) take() ([]byte, error) {
	rest := b.rest
	b.rest = nil
	return rest, b.err
}

func bodyError(err error) error {
	if _, known := problemOf(err); known {
		return err
	}
	return newProblem(ProblemCodeInvalidRequest, "The body could not be read completely.")
}

// mustBeJSON accepts application/json, with charset=utf-8 at most.
func mustBeJSON(contentType string) error {
	if contentType == echo.MIMEApplicationJSON {
		return nil
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != echo.MIMEApplicationJSON {
		return newProblem(ProblemCodeUnsupportedMediaType, "")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return newProblem(ProblemCodeUnsupportedMediaType, "JSON is UTF-8 (RFC 8259 section 8.1).")
	}
	return nil
}

func errNoBody() error {
	return newProblem(ProblemCodeInvalidRequest, "A body is required: a JSON object.")
}

// invalidField is a request with one bad field.
func invalidField(field, message string) *Problem {
	return newProblem(ProblemCodeInvalidRequest, "", FieldError{Field: field, Message: message})
}

// JWK is a public key as the database holds it (RFC 7517); it passes through
// unchanged.
type JWK = jsontext.Value

// JSONObject is an object with arbitrary members, such as the claims of a
// token. Its bytes are kept unchanged, so that no number loses precision.
type JSONObject jsontext.Value

// MarshalJSON answers the bytes, {} if there are none.
func (o JSONObject) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// UnmarshalJSON keeps the bytes. checkJSON has checked that they are an object.
func (o *JSONObject) UnmarshalJSON(data []byte) error {
	*o = append((*o)[:0], data...)
	return nil
}

// CreatePolicyRequest is a [PutPolicyRequest] whose Alg is set.
type CreatePolicyRequest = PutPolicyRequest

// Deferred is a part of a body that is decoded later with decodeStrict, so that
// a fault in it concerns that part alone.
type Deferred jsontext.Value

// UnmarshalJSON keeps the bytes.
func (d *Deferred) UnmarshalJSON(data []byte) error {
	*d = append((*d)[:0], data...)
	return nil
}
