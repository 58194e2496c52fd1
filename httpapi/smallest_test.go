package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestSmallestBodies sends every operation the smallest body that the document
// allows: the required members, with the values of an example. The answer is a
// success, which w.do holds against the document.
func TestSmallestBodies(t *testing.T) {
	w := newWorld(t)
	n := 0
	for _, e := range w.errands() {
		if e.RequestBody == nil {
			continue
		}
		n++
		bodies := []string{e.smallestBody(t)}
		if e.OperationID == "importKey" { // one of two members is required, which the schema cannot say simply
			bodies = []string{body(map[string]string{"private_key": foreignEC(t).jwk, "alg": "ES256"}), `{"private_key":"` + keyFile(t) + `","alg":"RS256"}`}
		}
		if !e.RequestBody.Value.Required {
			bodies = append(bodies, "")
		}
		for i, body := range bodies {
			e.things = w.things(e, fmt.Sprintf("small-%d-%d", n, i))
			if a := w.do(e.method, e.url(), w.root, body); a.StatusCode > 299 {
				t.Errorf("%s %s: %d %s", e.OperationID, body, a.StatusCode, a.body)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d operations with a body", n)
	}
}

// smallestBody has only the required members, at every depth.
func (e errand) smallestBody(t testing.TB) string {
	t.Helper()
	schema := e.RequestBody.Value.Content.Get("application/json").Schema.Value
	for _, example := range e.bodies(t) {
		var value any
		if err := json.Unmarshal([]byte(example), &value); err != nil {
			t.Fatal(err)
		}
		if small, whole := requiredOnly(schema, value); whole {
			text, err := json.Marshal(small)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	if len(schema.Required) > 0 {
		t.Errorf("%s: no example has %s", e.OperationID, schema.Required)
	}
	return "{}"
}

// requiredOnly returns value without the members that schema does not require, and
// whether it has all that are required.
func requiredOnly(schema *openapi3.Schema, value any) (small any, whole bool) {
	switch value := value.(type) {
	case map[string]any:
		members := map[string]any{}
		for _, name := range schema.Required {
			member, is := value[name]
			if !is {
				return nil, false
			}
			if property := schema.Properties[name]; property != nil {
				if member, is = requiredOnly(property.Value, member); !is {
					return nil, false
				}
			}
			members[name] = member
		}
		for _, name := range sortedNames(value) { // one of several members is required
			if uint64(len(members)) < schema.MinProps {
				members[name] = value[name]
			}
		}
		return members, true
	case []any:
		if schema.Items == nil || len(value) == 0 {
			return value, true
		}
		first, whole := requiredOnly(schema.Items.Value, value[0])
		return []any{first}, whole
	}
	return value, true
}

// TestRequestMembersHaveNoDefault holds for generators that take a member with a
// default for one that is always there, openapi-typescript among them: their types
// would refuse the smallest bodies. x-default says the default instead.
func TestRequestMembersHaveNoDefault(t *testing.T) {
	seen := map[*openapi3.Schema]bool{}
	var look func(where string, s *openapi3.SchemaRef)
	look = func(where string, s *openapi3.SchemaRef) {
		if s == nil || seen[s.Value] {
			return
		}
		seen[s.Value] = true
		if s.Value.Default != nil {
			t.Errorf("%s has a default", where)
		}
		look(where+"[]", s.Value.Items)
		for name, property := range s.Value.Properties {
			look(where+"."+name, property)
		}
		for _, part := range slices.Concat(s.Value.AllOf, s.Value.OneOf, s.Value.AnyOf) {
			look(where, part)
		}
	}
	for _, item := range document(t).Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody != nil {
				look(op.OperationID, op.RequestBody.Value.Content.Get("application/json").Schema)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d schemas", len(seen))
	}
}

// TestAnswersOfSeveralKindsHaveNames holds for generators that cannot name a union
// that has no name in the document, or that compile no oneOf without discriminator,
// openapi-generator among them.
func TestAnswersOfSeveralKindsHaveNames(t *testing.T) {
	for name, s := range document(t).Components.Schemas {
		if len(s.Value.OneOf) > 0 && s.Value.Discriminator == nil {
			t.Errorf("%s is a oneOf without discriminator, not an anyOf", name)
		}
	}
	for _, item := range document(t).Paths.Map() {
		for _, op := range item.Operations() {
			for status, r := range op.Responses.Map() {
				for media, content := range r.Value.Content {
					if s := content.Schema; s != nil && s.Ref == "" && len(s.Value.OneOf)+len(s.Value.AnyOf)+len(s.Value.AllOf) > 0 {
						t.Errorf("%s %s %s: a union without a name", op.OperationID, status, media)
					}
				}
			}
		}
	}
}

// TestDocumentDescribesEverything: every operation, parameter, header and schema
// says what it is, and every operation has one tag that the document introduces.
func TestDocumentDescribesEverything(t *testing.T) {
	doc := document(t)
	if doc.Info.Contact == nil || doc.Info.Contact.URL == "" {
		t.Error("no contact")
	}
	says := func(what, text string) {
		if strings.TrimSpace(text) == "" {
			t.Errorf("%s has no description", what)
		}
	}
	for path, item := range doc.Paths.Map() {
		for _, p := range item.Parameters {
			says(path+" "+p.Value.Name, p.Value.Description)
		}
		for _, op := range item.Operations() {
			says(op.OperationID, op.Description)
			if op.Summary == "" || len(op.Tags) != 1 || doc.Tags.Get(op.Tags[0]) == nil {
				t.Errorf("%s: summary %q, tags %q", op.OperationID, op.Summary, op.Tags)
			}
			for _, p := range op.Parameters {
				says(op.OperationID+" "+p.Value.Name, p.Value.Description)
			}
		}
	}
	for name, s := range doc.Components.Schemas {
		says(name, s.Value.Description)
	}
	for name, p := range doc.Components.Parameters {
		says(name, p.Value.Description)
	}
	for name, h := range doc.Components.Headers {
		says(name, h.Value.Description)
	}
	for _, tag := range doc.Tags {
		says(tag.Name, tag.Description)
	}
}
