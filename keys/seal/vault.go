package seal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/keyward/keyward/internal/loopback"
)

// vaultKey is a key of the transit engine of HashiCorp Vault or OpenBao. The
// token, the namespace and the certificates come from the environment that
// Vault's own client reads; the address is the URI's alone.
type vaultKey struct {
	address string // https://host:port
	path    string // /mount/keys/name
}

var vaultPath = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/keys/[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

const (
	tlsOff            = "off"              // to this machine only
	tlsOffOverNetwork = "off-over-network" // to any
)

func newVault(rest string) (source, string, error) {
	key, o, options, err := splitKMS(rest, "timeout", "tls")
	if err != nil {
		return nil, "", err
	}
	host, path, _ := strings.Cut(key, "/")
	host, path = strings.ToLower(host), "/"+path
	u, err := url.Parse("https://" + host)
	if err != nil || u.Host == "" || u.Host != host || !vaultPath.MatchString(path) {
		return nil, "", fmt.Errorf("%w: want host, mount and key, as in hcvault://vault.example:8200/transit/keys/keyward", ErrBadURI)
	}
	switch {
	case o.tls == "":
	case o.tls == tlsOff && loopback.IsHost(u.Hostname()), o.tls == tlsOffOverNetwork:
		u.Scheme = "http"
	case o.tls == tlsOff:
		return nil, "", fmt.Errorf("%w: without TLS the token and every data key cross the network readably; tls=off is for this machine, "+
			"and tls=off-over-network says that something else protects them", ErrBadURI)
	default:
		return nil, "", fmt.Errorf("%w: tls is left out, off or off-over-network", ErrBadURI)
	}
	src := newKMS(vaultKey{u.String(), path}, o)
	src.doubted = true // Vault ignores what it does not know, and old ones do not know it
	return src, "hcvault://" + host + path + options, nil
}

// newClient reads the environment as the vault command does, except for the address
// and for VAULT_SKIP_VERIFY, which would hand the token to anybody.
func (k vaultKey) newClient(context.Context) (tink.AEADWithContext, error) {
	cfg := api.DefaultConfig()
	if cfg.Error != nil {
		return nil, cfg.Error
	}
	t, ok := cfg.HttpClient.Transport.(*http.Transport)
	if !ok || t.TLSClientConfig != nil && t.TLSClientConfig.InsecureSkipVerify {
		return nil, errors.New("VAULT_SKIP_VERIFY is set; name the certificate authority with VAULT_CACERT instead")
	}
	t.Proxy = http.ProxyFromEnvironment
	v := &vaultCaller{key: k, http: cfg.HttpClient}
	_, err := v.withDeadline(context.Background()) // to know that it will work
	return v, err
}

// classifyError goes by status, and by text where Vault has one status for all: the
// texts are those of sdk/helper/keysutil and of the transit engine.
func (k vaultKey) classifyError(err error) fault {
	var response *api.ResponseError
	if !errors.As(err, &response) {
		var (
			broken   *url.Error
			stranger *tls.CertificateVerificationError
		)
		if errors.As(err, &broken) && !errors.As(err, &stranger) {
			return fault{ErrUnavailable, broken.Err.Error()}
		}
		return fault{nil, err.Error()}
	}
	text := strings.Join(response.Errors, "; ")
	f := fault{nil, fmt.Sprintf("status %d: %s", response.StatusCode, text)}
	switch code := response.StatusCode; {
	case code == http.StatusForbidden:
		f.kind = ErrDenied
	case code == http.StatusNotFound, strings.Contains(text, "encryption key not found"):
		f.kind = ErrNoMasterKey
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusPreconditionFailed:
		f.kind = ErrUnavailable
	case strings.Contains(text, "invalid ciphertext"), strings.Contains(text, "message authentication failed"):
		f.kind = ErrCannotOpen
	case strings.Contains(text, "not supported"), strings.Contains(text, "associated_data"), strings.Contains(text, "missing 'context'"):
		f.kind = ErrUnfit
	}
	return f
}

func (k vaultKey) howToFix() (create, rotate string) {
	mount, name, _ := strings.Cut(k.path[1:], "/keys/")
	key := mount + "/keys/" + name
	return "vault write -f " + key + " type=aes256-gcm96", "vault write -f " + key + "/rotate"
}
