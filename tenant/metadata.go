package tenant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A tenant's metadata is what its own provider offers, which Keyward cannot
// know: members of its discovery documents as OpenID Connect Discovery 1.0
// section 3, RFC 8414 section 2 and those that extend them define them.

// Bounds of the metadata of a tenant. The size is a CHECK of the table too.
const (
	maxMetadata        = 16 << 10 // bytes, as they are stored
	maxMetadataMembers = 100
	maxMetadataDepth   = 8 // levels of objects and arrays; the metadata is the first
	maxMetadataName    = 128
	maxMetadataNumber  = 32 // characters
	maxMetadataFaults  = 50 // of which a refusal tells
)

// owned are the members that Keyward says itself, and those that would say
// something else about the same: other keys, or (RFC 8414 section 2.1) a signed
// copy of everything that takes precedence.
var owned = map[string]string{
	"issuer":                                "must not be given: it is the tenant's issuer, which has a setting of its own",
	"jwks_uri":                              "must not be given: Keyward publishes the keys and says where",
	"id_token_signing_alg_values_supported": "must not be given: it follows from the tenant's policies and keys",
	"jwks":                                  "must not be given: the keys are those of jwks_uri",
	"signed_jwks_uri":                       "must not be given: the keys are those of jwks_uri",
	"signed_metadata":                       "must not be given: it would take precedence over issuer and jwks_uri",
}

// normalMetadata is valid metadata with the members of each object in order,
// numbers and texts as they came, so that what is made of it stays the same;
// nil for none.
func normalMetadata(given json.RawMessage) json.RawMessage {
	value, ok := parseMetadata(given)
	if !ok || len(value) == 0 {
		return nil
	}
	return compact(value)
}

func compact(value map[string]any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(value) // it was decoded from JSON
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// parseMetadata is false for what is neither an object nor nothing.
func parseMetadata(given json.RawMessage) (value map[string]any, ok bool) {
	if len(given) == 0 {
		return nil, true
	}
	dec := json.NewDecoder(bytes.NewReader(given))
	dec.UseNumber()
	return value, json.Valid(given) && dec.Decode(&value) == nil
}

func validateMetadata(broken *fields, given json.RawMessage) {
	value, ok := parseMetadata(given)
	switch {
	case !ok:
		broken.add("metadata", "must be an object")
	case len(value) > maxMetadataMembers:
		broken.add("metadata", "must have at most %d members", maxMetadataMembers)
	case len(compact(value)) > maxMetadata:
		broken.add("metadata", "must have at most %d bytes", maxMetadata)
	default:
		validateMembers(broken, value)
	}
}

// validateMembers looks at names in any case: clients exist that read JWKS_URI
// for jwks_uri, Go's encoding/json among them.
func validateMembers(broken *fields, members map[string]any) {
	spelled := map[string]string{}
	for _, name := range sorted(members) {
		at, lower := memberField("metadata", name), strings.ToLower(name)
		other, twice := spelled[lower]
		spelled[lower] = name
		switch message, is := owned[lower]; {
		case is:
			broken.add(at, "%s", message)
		case !isMemberName(name):
			broken.add(at, "%s", memberNameRule)
		case twice:
			broken.add(at, "must not be there beside %s, which many clients take for the same", other)
		default:
			validateMember(broken, at, lower, members[name])
		}
	}
}

// validateMember checks one by what its name promises.
func validateMember(broken *fields, at, name string, value any) {
	before := len(*broken)
	switch aliases, is := value.(map[string]any); {
	case isURLName(name):
		if text, _ := value.(string); !isWebURL(text) {
			broken.add(at, "must be an absolute https or http URL without user information and fragment")
		}
	case strings.HasSuffix(name, "_supported"):
		validateSupported(broken, at, name, value)
	case name == "mtls_endpoint_aliases" && is: // RFC 8705 section 5
		for _, alias := range sorted(aliases) {
			validateMember(broken, memberField(at, alias), alias, aliases[alias])
		}
	case name == "mtls_endpoint_aliases":
		broken.add(at, "must be an object")
	case value == nil:
		broken.add(at, "must not be null; leave it out")
	}
	if len(*broken) == before {
		validateValue(broken, at, value, 2)
	}
}

func isURLName(name string) bool {
	return strings.HasSuffix(name, "_endpoint") || strings.HasSuffix(name, "_uri") ||
		name == "service_documentation" || name == "check_session_iframe"
}

// validateSupported checks what is supported: a list or, of those that end as
// all do that are yes or no in the registry of RFC 8414 section 7.1, a boolean.
// The names of times to come may be either.
func validateSupported(broken *fields, at, name string, value any) {
	_, yesNo := value.(bool)
	switch {
	case hasSuffix(name, "_parameter_supported", "_logout_supported", "_session_supported"):
		if !yesNo {
			broken.add(at, "must be true or false")
		}
	case isTexts(value):
	case name == "scopes_supported", name == "claims_supported", hasSuffix(name, "_values_supported", "_types_supported",
		"_methods_supported", "_modes_supported", "_locales_supported"):
		broken.add(at, "must be an array of one or more strings; to say that there are none, leave it out")
	case !yesNo:
		broken.add(at, "must be an array of one or more strings, or true or false")
	}
}

// isTexts knows arrays of strings; one with no element must not be there at all
// (RFC 8414 section 3.2).
func isTexts(value any) bool {
	list, _ := value.([]any)
	for _, each := range list {
		if text, is := each.(string); !is || text == "" {
			return false
		}
	}
	return len(list) > 0
}

// validateValue bounds what every value has to be bounded in. The database
// keeps no NUL, and readers keep numbers in 64 bits (RFC 8259 section 6).
func validateValue(broken *fields, at string, value any, level int) {
	if len(*broken) >= maxMetadataFaults {
		return
	}
	switch v := value.(type) {
	case string:
		if strings.ContainsRune(v, 0) {
			broken.add(at, "must not contain the character U+0000")
		}
	case json.Number:
		if _, err := v.Float64(); err != nil || len(v) > maxMetadataNumber {
			broken.add(at, "must be a number of 64 bits, of at most %d characters", maxMetadataNumber)
		}
	case []any:
		if tooDeep(broken, at, level) {
			return
		}
		for i, each := range v {
			validateValue(broken, at+"["+strconv.Itoa(i)+"]", each, level+1)
		}
	case map[string]any:
		if tooDeep(broken, at, level) {
			return
		}
		for _, name := range sorted(v) {
			if !isMemberName(name) {
				broken.add(memberField(at, name), "%s", memberNameRule)
				continue
			}
			validateValue(broken, memberField(at, name), v[name], level+1)
		}
	}
}

func tooDeep(broken *fields, at string, level int) bool {
	if level > maxMetadataDepth {
		broken.add(at, "must not be nested deeper than %d levels", maxMetadataDepth)
	}
	return level > maxMetadataDepth
}

var memberNameRule = fmt.Sprintf("must have a name of 1 to %d printable ASCII characters without spaces", maxMetadataName)

func isMemberName(name string) bool {
	return name != "" && len(name) <= maxMetadataName && isASCII(name)
}

// memberField names a member; what the caller made up is cut short.
func memberField(at, name string) string {
	if len(name) > maxMetadataName {
		name = strings.ToValidUTF8(name[:maxMetadataName], "") + "…"
	}
	return at + "." + name
}

func hasSuffix(name string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func sorted(members map[string]any) []string { return slices.Sorted(maps.Keys(members)) }

// metadataDetails is the metadata as an audit event tells of it.
func metadataDetails(metadata json.RawMessage) any {
	if len(metadata) == 0 {
		return nil
	}
	return metadata
}
