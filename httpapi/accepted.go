package httpapi

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// The messages below say what is accepted. They are made from the schema alone:
// openapi3's own may repeat the value, which may be a secret.

// accepted says what the schema that refused a value accepts.
func accepted(e *openapi3.SchemaError) string {
	s := e.Schema
	switch e.SchemaField {
	case "required":
		return "is required"
	case "nullable":
		return "must not be null"
	case "enum":
		return "must be one of: " + joined(s.Enum)
	case "minimum", "maximum":
		return acceptedRange(s)
	case "minLength", "maxLength":
		return acceptedLength("characters", s.MinLength, s.MaxLength)
	case "minItems", "maxItems":
		return acceptedLength("items", s.MinItems, s.MaxItems)
	case "pattern":
		return acceptedPattern(s)
	case "type", "format":
		return acceptedType(s)
	default:
		return "is not valid"
	}
}

func acceptedPattern(s *openapi3.Schema) string {
	if s.Description == "" {
		return "must match " + s.Pattern
	}
	return "must match " + s.Pattern + " (" + s.Description + ")"
}

func joined(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}

func acceptedRange(s *openapi3.Schema) string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	switch {
	case s.Min != nil && s.Max != nil:
		return "must be between " + number(*s.Min) + " and " + number(*s.Max)
	case s.Min != nil:
		return "must be at least " + number(*s.Min)
	default:
		return "must be at most " + number(*s.Max)
	}
}

func acceptedLength(what string, least uint64, most *uint64) string {
	switch {
	case most == nil:
		return fmt.Sprintf("must have at least %d %s", least, what)
	case least == 0:
		return fmt.Sprintf("must have at most %d %s", *most, what)
	default:
		return fmt.Sprintf("must have between %d and %d %s", least, *most, what)
	}
}

func acceptedType(s *openapi3.Schema) string {
	switch {
	case s.Format == "date-time":
		return "must be an RFC 3339 time such as 2026-11-21T09:30:00Z"
	case s.Format == "uuid":
		return "must be an id such as 019ab4c2-7a10-7c3e-9d52-2f1f6f0f3a11"
	case s.Type.Is("integer"):
		return "must be an integer"
	case s.Type.Is("object"):
		return "must be an object"
	case s.Type.Is("array"):
		return "must be an array"
	case s.Type.Is("boolean"):
		return "must be true or false"
	default:
		return "must be a string"
	}
}
