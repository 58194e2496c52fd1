package client

import (
	"net/url"
	"testing"
)

// A kid is one segment of the path, whatever it is.
func TestKIDsInPaths(t *testing.T) {
	for _, kid := range []string{".", "..", "a/b", "a/../b", "/", "%2F", "a b", "?", "#", "+", "é", "..."} {
		for what, build := range map[string]func() (*url.URL, error){
			"": func() (*url.URL, error) {
				r, err := NewGetKeyRequest("https://keyward.example/x/", "acme", kid)
				return r.URL, err
			},
			"/revoke": func() (*url.URL, error) {
				r, err := NewRevokeKeyRequest("https://keyward.example/x/", "acme", kid, nil, RevokeKeyJSONRequestBody{})
				return r.URL, err
			},
		} {
			u, err := build()
			if want := "/x/v1/tenants/acme/keys/" + kid + what; err != nil || u.Path != want {
				t.Errorf("%q: %s, %v", kid, u, err)
			}
		}
	}
}
