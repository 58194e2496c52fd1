package httpapi

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"
)

// The messages below are derived from the schema alone. Those of openapi3 may
// repeat the value, which may be a secret.

// acceptedMessage returns the message for a value that a schema refused: it
// states the accepted values.
func acceptedMessage(e *openapi3.SchemaError) string {
	s := e.Schema
	switch e.SchemaField {
	case "required":
		return "is required"
	case "nullable":
		return "must not be null"
	case "enum":
		return "must be one of: " + joinValues(s.Enum)
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

func joinValues(values []any) string {
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

// maxFaults bounds how many fields one problem names.
const maxFaults = 50

// formatValidators are the string formats of the document, checked by the same
// parsers that the handlers use.
func formatValidators() []openapi3.SchemaValidationOption {
	return []openapi3.SchemaValidationOption{openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
		"date-time": openapi3.NewCallbackValidator(func(s string) error {
			_, err := time.Parse(time.RFC3339, s)
			return err
		}),
		"uuid": openapi3.NewCallbackValidator(validateUUID),
	})}
}

// validateUUID accepts only the canonical form (RFC 9562 section 4), while
// [uuid.Validate] also accepts braces, a prefix and no hyphens.
func validateUUID(s string) error {
	if len(s) != 36 {
		return errors.New("not 36 characters")
	}
	return uuid.Validate(s)
}

// queryFaults finds unknown and repeated query parameters.
func queryFaults(query url.Values, known openapi3.Parameters) []FieldError {
	var names []string
	for _, p := range known {
		if p.Value.In == openapi3.ParameterInQuery {
			names = append(names, p.Value.Name)
		}
	}
	var faults []FieldError
	for _, name := range sortedNames(query) {
		switch {
		case !slices.Contains(names, name):
			faults = append(faults, FieldError{joinPath("", name), unknownMessage(names)})
		case len(query[name]) > 1:
			faults = append(faults, FieldError{name, "must not be given twice"})
		}
	}
	return faults
}

// parameterFault returns the message for an invalid parameter: it states the
// accepted values.
func parameterFault(p *openapi3.Parameter, err error) FieldError {
	var schema *openapi3.SchemaError
	switch {
	case errors.As(err, &schema):
		return FieldError{p.Name, acceptedMessage(schema)}
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return FieldError{p.Name, "must not be empty"}
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return FieldError{p.Name, "is required"}
	default: // it could not be read as its type
		return FieldError{p.Name, acceptedType(p.Schema.Value)}
	}
}

// schemaFaults flattens the schema errors of a body to at most maxFaults
// fields.
func schemaFaults(err error) []FieldError {
	var faults []FieldError
	opened := map[string]bool{} // objects with their unknown members already reported
	for _, e := range leafErrors(err) {
		path := memberPath("", slices.Values(e.JSONPointer()))
		switch {
		case len(faults) >= maxFaults:
			return faults
		case e.SchemaField != "properties":
			faults = append(faults, FieldError{path, acceptedMessage(e)})
		case !opened[path]:
			opened[path] = true
			faults = append(faults, unknownFaults(e, path)...)
		}
	}
	return faults
}

// leafErrors are the innermost schema errors of an error.
func leafErrors(err error) []*openapi3.SchemaError {
	switch e := err.(type) { //nolint:errorlint // walks the tree itself
	case nil:
		return nil
	case openapi3.MultiError:
		var all []*openapi3.SchemaError
		for _, each := range e {
			all = append(all, leafErrors(each)...)
		}
		return all
	case *openapi3.SchemaError:
		if inner := leafErrors(e.Origin); len(inner) > 0 {
			return inner
		}
		return []*openapi3.SchemaError{e}
	default:
		return leafErrors(errors.Unwrap(err))
	}
}

// unknownFaults names the members of an object that its schema lacks; openapi3
// reports one error for each of them.
func unknownFaults(e *openapi3.SchemaError, path string) []FieldError {
	members, _ := e.Value.(map[string]any)
	message := unknownMessage(sortedNames(e.Schema.Properties))
	var faults []FieldError
	for _, name := range sortedNames(members) {
		if e.Schema.Properties[name] == nil {
			faults = append(faults, FieldError{joinPath(path, name), message})
		}
	}
	return faults
}

var arrayIndex = regexp.MustCompile(`^[0-9]+$`)
