package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

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

// decodeStrict is decodeBody for bytes at hand.
func decodeStrict(data []byte, v any) error {
	if err := checkJSON(data, reflect.TypeOf(v)); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return wrongType(dec.Decode(v))
}

// wrongType names the member that has the wrong type, but not its value.
func wrongType(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return invalid(wrong.Field, "must be "+jsonKind(wrong.Type))
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

// memberOf is the type of a member; the names of a struct are all there are.
func memberOf(t reflect.Type, name, at string) (reflect.Type, error) {
	switch {
	case t == nil:
		return nil, nil
	case t.Kind() == reflect.Map:
		return t.Elem(), nil
	case t.Kind() != reflect.Struct:
		return nil, nil // wrong, and decoding says so
	}
	fields := fieldsOf(t)
	if f, ok := fields[name]; ok {
		return f.typ, nil
	}
	return nil, invalid(at, unknownMessage(namesOf(fields)))
}

func unknownMessage(known []string) string {
	if len(known) == 0 {
		return "is not known; nothing is accepted here"
	}
	return "is not known; accepted: " + strings.Join(known, ", ")
}

// missing finds the first member that a struct must have and seen has not.
func missing(t reflect.Type, seen map[string]bool, path string) error {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	fields := fieldsOf(t)
	for _, name := range namesOf(fields) {
		if fields[name].required && !seen[name] {
			return invalid(join(path, name), "is required")
		}
	}
	return nil
}

// field is what a struct says about one member: required unless it says
// omitempty, which is how the generated types say it.
type field struct {
	typ      reflect.Type
	required bool
}

var fieldCache sync.Map // reflect.Type → map[string]field

// fieldsOf maps the JSON names of a struct to its fields.
func fieldsOf(t reflect.Type) map[string]field {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string]field)
	}
	fields := map[string]field{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = field{f.Type, !strings.Contains(options, "omitempty")}
		}
	}
	fieldCache.Store(t, fields)
	return fields
}

func namesOf[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// join appends a member to a path; what the client made up is cut short.
func join(path, name string) string {
	const longest = 64
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "") + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// maxDepth is how deep arrays and objects of a body may nest.
const maxDepth = 64

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	deferred    = reflect.TypeFor[Deferred]()
	jsonObject  = reflect.TypeFor[JSONObject]()
)

// checkJSON refuses what encoding/json would let pass: duplicate members,
// members the type does not have in this very case, missing ones, null for
// what cannot be null, unpaired surrogates (RFC 7493
// sections 2.1 and 2.3), deep nesting. t is the type the bytes are meant for;
// nil means anything.
func checkJSON(data []byte, t reflect.Type) error {
	if !utf8.Valid(data) {
		return newProblem(ProblemCodeInvalidRequest, "The body is not UTF-8.")
	}
	if deepest(data) > maxDepth {
		return newProblem(ProblemCodeInvalidRequest, "The body is nested deeper than "+strconv.Itoa(maxDepth)+" levels.")
	}
	if !json.Valid(data) {
		return newProblem(ProblemCodeInvalidRequest, "The body is not one JSON value.")
	}
	return (&checker{data: data}).value(t, "")
}

// checker walks over bytes that are known to be valid JSON.
type checker struct {
	data []byte
	pos  int
	lax  bool // inside a Deferred, whose reader checks it
}

// next is the first byte of the next token.
func (c *checker) next() byte {
	for strings.IndexByte(" \t\r\n", c.data[c.pos]) >= 0 {
		c.pos++
	}
	return c.data[c.pos]
}

func (c *checker) value(t reflect.Type, path string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	first := c.next()
	switch {
	case t == deferred && !c.lax:
		c.lax = true
		defer func() { c.lax = false }()
	case t == jsonObject && first != '{':
		return invalid(path, "must be an object")
	case t != nil && !opaque(t) && first == 'n':
		return invalid(path, "must not be null")
	}
	if t != nil && opaque(t) {
		t = nil
	}
	return c.token(first, t, path)
}

func (c *checker) token(first byte, t reflect.Type, path string) error {
	switch first {
	case '{':
		return c.object(t, path)
	case '[':
		return c.array(t, path)
	case '"':
		_, err := c.text(path)
		return err
	default: // a number or a literal
		for c.pos < len(c.data) && strings.IndexByte(" \t\r\n,]}", c.data[c.pos]) < 0 {
			c.pos++
		}
		return nil
	}
}

// opaque types read their JSON themselves.
func opaque(t reflect.Type) bool {
	return t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)
}

func (c *checker) array(t reflect.Type, path string) error {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	c.pos++
	for i := 0; c.next() != ']'; i++ {
		if c.data[c.pos] == ',' {
			c.pos++
		}
		if err := c.value(elem, path+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	c.pos++
	return nil
}

func (c *checker) object(t reflect.Type, path string) error {
	seen := map[string]bool{}
	c.pos++
	for c.next() != '}' {
		if c.data[c.pos] == ',' {
			c.pos++
			c.next()
		}
		name, err := c.text(path)
		if err != nil {
			return err
		}
		at := join(path, name)
		if seen[name] && !c.lax {
			return invalid(at, "must not be given twice")
		}
		seen[name] = true
		member, err := memberOf(t, name, at)
		if err != nil {
			return err
		}
		c.next()
		c.pos++ // the colon
		if err := c.value(member, at); err != nil {
			return err
		}
	}
	c.pos++
	return missing(t, seen, path)
}

// deepest counts brackets outside strings; it needs no valid JSON.
func deepest(data []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
			most = max(most, depth)
		case b == '}' || b == ']':
			depth--
		}
	}
	return most
}

// text reads a string and returns what it means.
func (c *checker) text(path string) (string, error) {
	start, escaped := c.pos, false
	for c.pos++; c.data[c.pos] != '"'; c.pos++ {
		if c.data[c.pos] == '\\' {
			escaped = true
			c.pos++
		}
	}
	c.pos++
	raw := c.data[start:c.pos]
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	if !c.lax && unpaired(raw) {
		return "", invalid(path, "must not have an unpaired surrogate")
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// unpaired finds half a character, which encoding/json would replace.
func unpaired(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		r := escape(raw[i-1:])
		i += 4
		if !utf16.IsSurrogate(r) {
			continue
		}
		if utf16.DecodeRune(r, escape(raw[i+1:])) == unicode.ReplacementChar {
			return true
		}
		i += 6
	}
	return false
}

// escape is the code of a \uXXXX at the beginning of raw, else 0.
func escape(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	r, _ := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(r)
}

// JWK is a public key as the database holds it (RFC 7517); it passes through
// unchanged.
type JWK = json.RawMessage

// JSONObject is an object whose members are the caller's own, such as the
// claims of a token. It stays as it came, so that no number loses a digit.
type JSONObject json.RawMessage

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
type Deferred json.RawMessage

// UnmarshalJSON keeps the bytes.
func (d *Deferred) UnmarshalJSON(data []byte) error {
	*d = append((*d)[:0], data...)
	return nil
}
