package seal

import (
	"testing"

	"google.golang.org/api/option"
)

// UseGCP has Google's client reach a fake service until the test ends.
func UseGCP(t testing.TB, opts ...option.ClientOption) {
	gcpOptions = opts
	t.Cleanup(func() { gcpOptions = nil })
}

// DataKeyOf returns the data key with these bytes.
func DataKeyOf(material [32]byte) *DataKey {
	k, err := newDataKey(&material)
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	return k
}

// Material returns the bytes of k, to look for them where they must not be.
func Material(k *DataKey) []byte { return k.material[:] }

// ParseKeyset does all that reading a master key file does with its content.
func ParseKeyset(data []byte) (versions []string, err error) {
	h, err := parseKeyset(data)
	if err != nil {
		return nil, err
	}
	vs, err := versionsOf(h)
	for _, v := range vs {
		versions = append(versions, v.name)
	}
	return versions, err
}

// Canonical returns the one spelling of a URI.
func Canonical(uri string) (string, error) {
	_, uri, err := parseURI(uri)
	return uri, err
}

// ExcessOf is the rule for the permissions of a master key file.
var ExcessOf = excessOf
