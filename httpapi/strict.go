package httpapi

import (
	"bytes"
	jsonv1 "encoding/json"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/keyward/keyward/internal/strictjson"
)

// lenient lets a decoder pass duplicate members and unpaired surrogates. The
// checker refuses both itself, to name the field, and leaves a [Deferred] alone.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

var (
	unmarshaler = reflect.TypeFor[jsonv1.Unmarshaler]()
	deferred    = reflect.TypeFor[Deferred]()
	jsonObject  = reflect.TypeFor[JSONObject]()
)

// checkJSON refuses a body that is not one value of I-JSON (RFC 7493 sections
// 2.1 and 2.3), that nests too deep, or that does not fit t: unknown, missing and
// duplicate members, and null for a member that cannot be null. A nil t accepts
// any value.
func checkJSON(data []byte, t reflect.Type) error {
	if !utf8.Valid(data) {
		return newProblem(ProblemCodeInvalidRequest, "The body is not UTF-8.")
	}
	if err := checkSyntax(data); err != nil {
		return err
	}
	dec := borrowDecoder(data, lenient)
	defer decoders.Put(dec)
	return (&checker{dec}).value(t, "")
}

// decoders are reused, since a new one costs fourteen allocations.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// borrowDecoder returns a decoder of data, to be put back. Without options it refuses
// duplicate members and unpaired surrogates.
func borrowDecoder(data []byte, options ...jsontext.Options) *jsontext.Decoder {
	dec := decoders.Get().(*jsontext.Decoder)
	dec.Reset(bytes.NewBuffer(data), options...)
	return dec
}

// errTooDeep refuses a value that nests too deep.
var errTooDeep = newProblem(ProblemCodeInvalidRequest, "The body is nested deeper than "+strconv.Itoa(strictjson.MaxDepth)+" levels.")

// checkSyntax refuses all input but one JSON value, nested at most
// [strictjson.MaxDepth] deep.
func checkSyntax(data []byte) error {
	dec := borrowDecoder(data, lenient)
	defer decoders.Put(dec)
	err := strictjson.SkipValue(dec)
	if err == nil && strictjson.AtEnd(dec) {
		return nil
	}
	if errors.Is(err, strictjson.ErrDepth) {
		return errTooDeep
	}
	return newProblem(ProblemCodeInvalidRequest, "The body is not one JSON value.")
}

// readKind reads a token and reports whether it is of this kind.
func readKind(dec *jsontext.Decoder, kind jsontext.Kind) bool {
	token, err := dec.ReadToken()
	return err == nil && token.Kind() == kind
}

// checker compares a body of valid syntax with a Go type.
type checker struct{ dec *jsontext.Decoder }

func (c *checker) value(t reflect.Type, path string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	kind := c.dec.PeekKind()
	switch {
	case t == deferred:
		return c.dec.SkipValue()
	case t == jsonObject && kind != '{':
		return invalidField(path, "must be an object")
	case t == nil || hasUnmarshaler(t):
		return c.anyValue(path)
	case kind == 'n':
		return invalidField(path, "must not be null")
	case kind == '{' && t.Kind() == reflect.Struct:
		return c.object(fieldsOf(t), path)
	case kind == '[' && t.Kind() == reflect.Slice:
		return c.array(t.Elem(), path)
	}
	return c.anyValue(path)
}

// hasUnmarshaler types read their JSON themselves.
func hasUnmarshaler(t reflect.Type) bool {
	return t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)
}

// anyValue checks a value of arbitrary form for duplicate members and unpaired
// surrogates.
func (c *checker) anyValue(path string) error {
	value, err := c.dec.ReadValue()
	if err != nil {
		return err
	}
	dec := borrowDecoder(value)
	defer decoders.Put(dec)
	err = dec.SkipValue()
	var fault *jsontext.SyntacticError
	switch {
	case !errors.As(err, &fault):
		return err
	case errors.Is(err, jsontext.ErrDuplicateName):
		return invalidField(memberPath(path, fault.JSONPointer.Tokens()), "must not be given twice")
	default: // the only other fault of a value that checkSyntax passed
		return invalidField(memberPath(path, fault.JSONPointer.Tokens()), "must not have an unpaired surrogate")
	}
}

func (c *checker) array(elem reflect.Type, path string) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	for i := 0; c.dec.PeekKind() != ']'; i++ {
		if err := c.value(elem, path+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	_, err := c.dec.ReadToken()
	return err
}

func (c *checker) object(fields map[string]field, path string) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for c.dec.PeekKind() != '}' {
		token, err := c.dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		f, known := fields[name]
		switch {
		case seen[name]:
			return invalidField(joinPath(path, name), "must not be given twice")
		case !known:
			return invalidField(joinPath(path, name), unknownMessage(sortedNames(fields)))
		}
		seen[name] = true
		if err := c.value(f.typ, joinPath(path, name)); err != nil {
			return err
		}
	}
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	return missingMember(fields, seen, path)
}

// missingMember refuses an object without a required member.
func missingMember(fields map[string]field, seen map[string]bool, path string) error {
	for _, name := range sortedNames(fields) {
		if fields[name].required && !seen[name] {
			return invalidField(joinPath(path, name), "is required")
		}
	}
	return nil
}

func unknownMessage(known []string) string {
	if len(known) == 0 {
		return "is not known; nothing is accepted here"
	}
	return "is not known; accepted: " + strings.Join(known, ", ")
}

// field is the type of one member of a struct. It is required unless its tag
// has omitempty, as in the generated types.
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

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// memberPath appends the steps of a JSON pointer (RFC 6901) to a path in the
// notation of error messages, such as policies[0].alg.
func memberPath(path string, pointer iter.Seq[string]) string {
	for step := range pointer {
		if arrayIndex.MatchString(step) {
			path += "[" + step + "]"
			continue
		}
		path = joinPath(path, step)
	}
	return path
}

// joinPath appends a member to a path. A long name, which is the client's own, is
// truncated.
func joinPath(path, name string) string {
	const longest = 64
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "") + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
