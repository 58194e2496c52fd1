package tenant

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

var (
	slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	idPattern   = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// looksLikeID reports whether a slug could be mistaken for an id: a UUID with or
// without dashes.
func looksLikeID(slug string) bool { return idPattern.MatchString(strings.ReplaceAll(slug, "-", "")) }

// IsSlug reports whether text has the form of a slug.
func IsSlug(text string) bool { return slugPattern.MatchString(text) && !looksLikeID(text) }

func validateSlug(broken *fields, slug string) {
	switch {
	case !slugPattern.MatchString(slug):
		broken.add("slug", "must be 1 to 63 of a-z, 0-9 and -, and neither begin nor end with -")
	case looksLikeID(slug):
		broken.add("slug", "must not look like an id")
	case slug == PlatformSlug:
		broken.add("slug", "must not be %q, which is the platform's own", PlatformSlug)
	}
}

// validateName checks a display name. PostgreSQL cannot store NUL.
func validateName(broken *fields, name string) {
	switch {
	case !utf8.ValidString(name):
		broken.add("name", "must be UTF-8")
	case strings.ContainsRune(name, 0):
		broken.add("name", "must not contain the character NUL (U+0000)")
	case utf8.RuneCountInString(name) > 200:
		broken.add("name", "must be at most 200 characters")
	}
}

// validateIssuer checks RFC 8414 section 2: a URL without query or fragment.
// Verifiers compare it byte by byte (RFC 7519 section 2, StringOrURI), so it is
// stored exactly as given, including a trailing slash. [Namespace] refuses http for
// other machines.
func validateIssuer(broken *fields, issuer string) {
	if issuer == "" {
		return
	}
	_, afterScheme, _ := strings.Cut(issuer, "://")
	if !isWebURL(issuer) || len(issuer) > 500 || strings.Contains(issuer, "?") {
		broken.add("issuer", "must be an absolute https or http URL of at most 500 ASCII characters without query and fragment")
	} else if _, urlPath, _ := strings.Cut(afterScheme, "/"); strings.Trim(urlPath, issuerCharacters) != "" {
		broken.add("issuer", "must have a path of letters, digits and -._~%%:@+=,/ only: it is copied into the settings of verifiers and into commands, where other characters have a meaning")
	}
}

// issuerCharacters are those of an issuer's path. RFC 3986 section 3.3 allows others,
// among them $ ( ) ; & and ', which a shell executes.
const issuerCharacters = pathCharacters + "%:@+=,/"

// isWebURL reports whether text is an absolute http or https URL without
// fragment and user information, in ASCII.
func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil &&
		!strings.Contains(text, "#") && isASCII(text)
}

// isASCII reports whether text has only printable ASCII characters and no space.
func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// validateDomain checks RFC 1123 section 2.1: a host name. A last label of digits
// would make it an IPv4 address (WHATWG URL, "ends in a number").
func validateDomain(broken *fields, domain string) {
	if domain == "" {
		return
	}
	if !IsDomain(domain) {
		broken.add("custom_domain", "must be a host name in lower case, without port")
	}
}

// LowerDomain returns a host name with its ASCII letters in lower case. Other
// characters stay, so that [IsDomain] refuses them: the lower case of Unicode's
// Kelvin sign is k, but a name with it is a different name.
func LowerDomain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// IsDomain reports whether name is a host name in lower case, as a custom domain
// must be. It runs for the Host of every request.
func IsDomain(name string) bool {
	if len(name) > 253 || isNumber(name[strings.LastIndexByte(name, '.')+1:]) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isNumber reports whether a label is a decimal or hexadecimal number, which as the last
// one makes a name an IPv4 address (WHATWG URL, "ends in a number").
func isNumber(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	allowed := "0123456789"
	if hex {
		allowed += "abcdef"
	}
	return (hex || digits != "") && strings.Trim(digits, allowed) == ""
}

func isLabel(label string) bool {
	if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		if b := label[i]; !(b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-') {
			return false
		}
	}
	return true
}
