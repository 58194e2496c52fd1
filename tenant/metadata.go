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

// A tenant's metadata describes its own provider, about which Keyward knows nothing:
// members of its discovery documents as defined in OpenID Connect Discovery 1.0
// section 3, RFC 8414 section 2 and their extensions.

// Bounds of the metadata of a tenant. The size is a CHECK of the table too.
const (
	maxMetadata        = 16 << 10 // bytes, as they are stored
	maxMetadataMembers = 100
	maxMetadataDepth   = 8 // levels of objects and arrays; the metadata is the first
	maxMetadataName    = 128
	maxMetadataNumber  = 32 // characters
	maxMetadataFaults  = 50 // reported in one error
)

// ownedMembers maps the members that a tenant must not set to the reason. Keyward
// sets them itself, or they would contradict such a member: other keys, or a signed
// copy of the document, which takes precedence (RFC 8414 section 2.1).
var ownedMembers = map[string]string{
	"issuer":                                "must not be given: it is the tenant's issuer, which has a setting of its own",
	"jwks_uri":                              "must not be given: Keyward publishes the keys and says where",
	"id_token_signing_alg_values_supported": "must not be given: it follows from the tenant's policies and keys",
	"jwks":                                  "must not be given: the keys are those of jwks_uri",
	"signed_jwks_uri":                       "must not be given: the keys are those of jwks_uri",
	"signed_metadata":                       "must not be given: it would take precedence over issuer and jwks_uri",
}

// canonicalMetadata returns valid metadata with the members of each object sorted
// and numbers and texts unchanged, so that documents made of it are stable; nil if
// there is none.
func canonicalMetadata(given json.RawMessage) json.RawMessage {
	value, ok := parseMetadata(given)
	if !ok || len(value) == 0 {
		return nil
	}
	return encodeCompact(value)
}

func encodeCompact(value map[string]any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(value) // it was decoded from JSON
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// parseMetadata decodes an object. Empty input is an empty object, anything else is
// not ok.
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
	case len(encodeCompact(value)) > maxMetadata:
		broken.add("metadata", "must have at most %d bytes", maxMetadata)
	default:
		validateMembers(broken, value)
	}
}

// validateMembers compares names without case, because some clients read JWKS_URI
// as jwks_uri, among them Go's encoding/json.
func validateMembers(broken *fields, members map[string]any) {
	spelled := map[string]string{}
	for _, name := range sortedNames(members) {
		at, lower := memberField("metadata", name), strings.ToLower(name)
		other, twice := spelled[lower]
		spelled[lower] = name
		switch message, is := ownedMembers[lower]; {
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

// validateMember checks a value against the type that its name implies.
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
		for _, alias := range sortedNames(aliases) {
			if message, is := ownedMembers[strings.ToLower(alias)]; is {
				broken.add(memberField(at, alias), "%s", message)
				continue
			}
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

// validateSupported checks a member "…_supported". In the registry of RFC 8414
// section 7.1 it is a boolean for some endings and a list for others. Unknown
// endings may be either.
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

// isTexts reports whether value is an array of one or more non-empty strings. RFC
// 8414 section 3.2 forbids empty arrays.
func isTexts(value any) bool {
	list, _ := value.([]any)
	for _, each := range list {
		if text, is := each.(string); !is || text == "" {
			return false
		}
	}
	return len(list) > 0
}

// validateValue checks the limits of every value: depth, no NUL, which PostgreSQL
// cannot store, and numbers of 64 bits, as readers expect (RFC 8259 section 6).
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
		for _, name := range sortedNames(v) {
			if !isMemberName(name) {
				broken.add(memberField(at, name), "%s", memberNameRule)
				continue
			}
			validateValue(broken, memberField(at, name), v[name], level+1)
		}
	}
}

// tooDeep reports whether level exceeds maxMetadataDepth, and adds the error.
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

// memberField returns the path of a member. A long name, which the caller chose, is
// cut.
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

func sortedNames(members map[string]any) []string { return slices.Sorted(maps.Keys(members)) }

// metadataDetails returns the metadata as details of an audit event.
func metadataDetails(metadata json.RawMessage) any {
	if len(metadata) == 0 {
		return nil
	}
	return metadata
}
