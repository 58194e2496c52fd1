package httpapi

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/labstack/echo/v4"
)

// decodeBody reads the body of a request into v: one JSON value of type
// application/json, in UTF-8, without duplicate, unknown or wrongly cased
// members (RFC 8259 section 4 leaves those to the reader; a reader that picks
// one of two members signs something else than its neighbour checked). Errors
// are [*Problem] or those of the body's reader.
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

// decodeOptionalBody is decodeBody for requests that also come without one,
// which leaves v as it is.
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
	case errors.As(err, &wrong) && wrong.GoType != nil && !opaque(wrong.GoType):
		return invalid(memberPath("", wrong.JSONPointer.Tokens()), "must be "+jsonKind(wrong.GoType))
	default:
		return newProblem(ProblemCodeInvalidRequest, "A member of the body does not have the form it should have.")
	}
}

// jsonKind is what JSON calls the values that fit a Go type.
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

// readBody returns the whole body, nil for none. Its length is bounded by a
// middleware, whose error passes through.
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

// readAll takes no more memory than was announced, if that is little, nor than
// was sent, if it is much.
func readAll(r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 || r.ContentLength > 64<<10 {
		return io.ReadAll(r.Body)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func bodyError(err error) error {
	if _, known := problemOf(err); known {
		return err
	}
	return newProblem(ProblemCodeInvalidRequest, "The body could not be read to its end.")
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

// invalid is a request with one bad field.
func invalid(field, message string) *Problem {
	return newProblem(ProblemCodeInvalidRequest, "", FieldError{Field: field, Message: message})
}

// JWK is a public key as the database holds it (RFC 7517); it passes through
// unchanged.
type JWK = jsontext.Value

// JSONObject is an object whose members are the caller's own, such as the
// claims of a token. It stays as it came, so that no number loses a digit.
type JSONObject jsontext.Value

// MarshalJSON answers the bytes, {} if there are none.
func (o JSONObject) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// UnmarshalJSON keeps the bytes; that they are an object, checkJSON has seen.
func (o *JSONObject) UnmarshalJSON(data []byte) error {
	*o = append((*o)[:0], data...)
	return nil
}

// CreatePolicyRequest is a [PutPolicyRequest] whose Alg is set.
type CreatePolicyRequest = PutPolicyRequest

// Deferred is a part of a body that its reader decodes later by itself with
// decodeStrict, so that its faults are its own and not the whole body's.
type Deferred jsontext.Value

// UnmarshalJSON keeps the bytes.
func (d *Deferred) UnmarshalJSON(data []byte) error {
	*d = append((*d)[:0], data...)
	return nil
}
