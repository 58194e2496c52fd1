package httpapi

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"
)

// maxFaults bounds how many fields one problem names.
const maxFaults = 50

// formats are the string formats of the document, by the parsers that the
// handlers use as well.
func formats() []openapi3.SchemaValidationOption {
	return []openapi3.SchemaValidationOption{openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
		"date-time": openapi3.NewCallbackValidator(func(s string) error {
			_, err := time.Parse(time.RFC3339, s)
			return err
		}),
		"uuid": openapi3.NewCallbackValidator(validateUUID),
	})}
}

// validateUUID knows one spelling (RFC 9562 section 4), where [uuid.Validate]
// takes braces, a prefix and no hyphens as well.
func validateUUID(s string) error {
	if len(s) != 36 {
		return errors.New("not 36 characters")
	}
	return uuid.Validate(s)
}

// queryFaults finds parameters that nothing reads and those given twice.
func queryFaults(query url.Values, known openapi3.Parameters) []FieldError {
	var names []string
	for _, p := range known {
		if p.Value.In == openapi3.ParameterInQuery {
			names = append(names, p.Value.Name)
		}
	}
	var faults []FieldError
	for _, name := range namesOf(query) {
		switch {
		case !slices.Contains(names, name):
			faults = append(faults, FieldError{join("", name), unknownMessage(names)})
		case len(query[name]) > 1:
			faults = append(faults, FieldError{name, "must not be given twice"})
		}
	}
	return faults
}

// parameterFault says what a parameter accepts.
func parameterFault(p *openapi3.Parameter, err error) FieldError {
	var schema *openapi3.SchemaError
	switch {
	case errors.As(err, &schema):
		return FieldError{p.Name, accepted(schema)}
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return FieldError{p.Name, "must not be empty"}
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return FieldError{p.Name, "is required"}
	default: // it could not be read as its type
		return FieldError{p.Name, acceptedType(p.Schema.Value)}
	}
}

// schemaFaults flattens what openapi3 found in a body, maxFaults at most.
func schemaFaults(err error) []FieldError {
	var faults []FieldError
	opened := map[string]bool{} // objects whose unknown members are named already
	for _, e := range leaves(err) {
		path := fieldPath(e.JSONPointer())
		switch {
		case len(faults) >= maxFaults:
			return faults
		case e.SchemaField != "properties":
			faults = append(faults, FieldError{path, accepted(e)})
		case !opened[path]:
			opened[path] = true
			faults = append(faults, unknownFaults(e, path)...)
		}
	}
	return faults
}

// leaves are the innermost schema errors of an error.
func leaves(err error) []*openapi3.SchemaError {
	switch e := err.(type) { //nolint:errorlint // walks the tree itself
	case nil:
		return nil
	case openapi3.MultiError:
		var all []*openapi3.SchemaError
		for _, each := range e {
			all = append(all, leaves(each)...)
		}
		return all
	case *openapi3.SchemaError:
		if inner := leaves(e.Origin); len(inner) > 0 {
			return inner
		}
		return []*openapi3.SchemaError{e}
	default:
		return leaves(errors.Unwrap(err))
	}
}

// unknownFaults names the members that an object has and its schema has not;
// openapi3 makes one error of each.
func unknownFaults(e *openapi3.SchemaError, path string) []FieldError {
	members, _ := e.Value.(map[string]any)
	message := unknownMessage(namesOf(e.Schema.Properties))
	var faults []FieldError
	for _, name := range namesOf(members) {
		if e.Schema.Properties[name] == nil {
			faults = append(faults, FieldError{join(path, name), message})
		}
	}
	return faults
}

var index = regexp.MustCompile(`^[0-9]+$`)

// fieldPath writes a JSON pointer the way people write it: policies[0].alg.
func fieldPath(pointer []string) string {
	path := ""
	for _, step := range pointer {
		if index.MatchString(step) {
			path += "[" + step + "]"
			continue
		}
		path = join(path, step)
	}
	return path
}
