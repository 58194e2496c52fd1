package seal

import (
	"context"
	"net/http"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// vaultCaller gives the calls of Tink's client, which takes no context, the
// one they need: each is made by a client of its own, whose transport puts the
// context into the request. The connections are shared.
type vaultCaller struct {
	key  vaultKey
	http *http.Client
}

func (v *vaultCaller) EncryptWithContext(ctx context.Context, plain, ad []byte) ([]byte, error) {
	a, err := v.withDeadline(ctx)
	if err != nil {
		return nil, err
	}
	return a.Encrypt(plain, ad)
}

func (v *vaultCaller) DecryptWithContext(ctx context.Context, ciphertext, ad []byte) ([]byte, error) {
	a, err := v.withDeadline(ctx)
	if err != nil {
		return nil, err
	}
	return a.Decrypt(ciphertext, ad)
}

// withDeadline returns a client whose calls end with ctx. Token and namespace are
// read anew, from the environment. Retries are remote's.
func (v *vaultCaller) withDeadline(ctx context.Context) (tink.AEAD, error) {
	h := *v.http
	h.Transport = during{ctx, v.http.Transport}
	client, err := api.NewClient(&api.Config{Address: v.key.address, HttpClient: &h})
	if err != nil {
		return nil, err
	}
	return hcvault.NewAEAD(v.key.path, client.Logical())
}

// during makes requests that end with a context and continue its trace.
type during struct {
	ctx  context.Context
	next http.RoundTripper
}

func (d during) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(d.ctx)
	injectTrace(d.ctx, r.Header)
	return d.next.RoundTrip(r)
}
