package jwks

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Decode unmarshals the claims into v with package encoding/json, except that
// members match fields by their exact names: a claim "SUB" is not taken for a field
// "sub", which a user of the issuer could be able to set.
func (t *Token) Decode(v any) error {
	text := exactMembers(t.payload, reflect.TypeOf(v))
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fmt.Errorf("%w: %w", ErrClaim, err)
	}
	return nil
}

// Claims decodes the claims of a token into a type of the caller's.
func Claims[T any](t *Token) (claims T, err error) {
	return claims, t.Decode(&claims)
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// exactMembers returns a JSON value without the members that package encoding/json
// would store in a field of another name, which differs in case alone. The text is
// valid JSON.
func exactMembers(text string, t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer && !t.Implements(unmarshaler) {
		t = t.Elem()
	}
	if t == nil || t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) {
		return text
	}
	var parts []string
	switch kind := t.Kind(); {
	case kind == reflect.Struct && strings.HasPrefix(strings.TrimSpace(text), "{"):
		fields := fieldTypes(t)
		splitMembers(text, func(name, value string) {
			field, exact := fields[name]
			if exact || !hasFold(fields, name) {
				parts = append(parts, quoteName(name)+":"+exactMembers(value, field))
			}
		})
		return "{" + strings.Join(parts, ",") + "}"
	case kind == reflect.Map && strings.HasPrefix(strings.TrimSpace(text), "{"):
		splitMembers(text, func(name, value string) {
			parts = append(parts, quoteName(name)+":"+exactMembers(value, t.Elem()))
		})
		return "{" + strings.Join(parts, ",") + "}"
	case kind == reflect.Slice || kind == reflect.Array:
		if eachElement(text, func(value string) { parts = append(parts, exactMembers(value, t.Elem())) }) {
			return "[" + strings.Join(parts, ",") + "]"
		}
	}
	return text
}

// fieldTypes returns the types of a struct's fields by their names in JSON.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		if f.IsExported() && f.Tag.Get("json") != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}

func hasFold(fields map[string]reflect.Type, name string) bool {
	for field := range fields {
		if strings.EqualFold(field, name) {
			return true
		}
	}
	return false
}

func quoteName(name string) string {
	quoted, _ := json.Marshal(name) // of a string there is no error
	return string(quoted)
}
