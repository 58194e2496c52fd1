package httpapi

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

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
