package signin_test

import (
	"reflect"
	"testing"

	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
)

func TestParseMapping(t *testing.T) {
	got, err := signin.ParseMapping(`groups=admins:platform_admin , memberOf=CN=ops\,DC=acme:x\\y:tenant_signer@acme`)
	want := signin.Mapping{
		{Claim: "groups", Value: "admins", Role: tenant.PlatformAdmin},
		{Claim: "memberOf", Value: `CN=ops,DC=acme:x\y`, Role: tenant.TenantSigner, Tenant: "acme"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{
		"", ",", "groups", "groups=admins", "=admins:platform_admin", "groups=:platform_admin", "groups=admins:", "groups=admins:root",
		"groups=admins:platform_admin@acme", "groups=admins:platform_admin@", "groups=admins:tenant_admin", "groups=admins:tenant_admin@",
		"groups=admins:tenant_admin@Acme", "groups=admins:tenant_admin@00000000-0000-7000-8000-000000000000", "groups=admins:platform_admin,",
	} {
		if m, err := signin.ParseMapping(text); err == nil {
			t.Errorf("%q: %+v", text, m)
		}
	}
}

func FuzzParseMapping(f *testing.F) {
	f.Add(`groups=admins:platform_admin,memberOf=CN=ops\,DC=acme:tenant_signer@acme`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := signin.ParseMapping(text)
		for _, r := range m {
			if err != nil || r.Claim == "" || r.Value == "" || !r.Role.Valid() || r.Role.OfPlatform() != (r.Tenant == "") {
				t.Errorf("%q: %+v, %v", text, r, err)
			}
		}
	})
}
