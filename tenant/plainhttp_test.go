package tenant

import "testing"

// An issuer is plain http at this machine only, or if the operator allows it.
func TestPlainHTTPIssuers(t *testing.T) {
	n := NewNamespace("https://keys.example.com")
	for issuer, fine := range map[string]bool{
		"http://id.acme.example": false, "HTTP://id.acme.example/x": false, "http://10.0.0.1/x": false, "http://localhost.acme.example": false, "http://[2001:db8::1]": false,
		"http://localhost:3000": true, "http://127.0.0.1": true, "http://[::1]:8080": true, "https://id.acme.example": true,
	} {
		of := Tenant{Slug: "acme", OwnIssuer: issuer}
		if _, err := n.Names(of); (err == nil) != fine {
			t.Errorf("%s: %v", issuer, err)
		}
		if _, err := n.WithPlainHTTP(true).Names(of); err != nil {
			t.Errorf("%s, allowed: %v", issuer, err)
		}
	}
}
