package kmstest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const vaultToken = "hvs.not-a-token"

// NewVault starts a fake Vault with a transit engine, without TLS, for as long
// as the test runs, and puts its token into the environment.
func NewVault(t testing.TB) *Server {
	t.Helper()
	s := newVault(t)
	s.start(t)
	s.URI = s.NewVaultKey("keyward") + "?tls=off"
	return s
}

// NewVaultTLS is NewVault with TLS; VAULT_CACERT names its authority.
func NewVaultTLS(t testing.TB) *Server {
	t.Helper()
	s := newVault(t)
	s.http.StartTLS()
	t.Cleanup(s.http.Close)
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_CACERT", path)
	s.URI = s.NewVaultKey("keyward")
	return s
}

func newVault(t testing.TB) *Server {
	for _, name := range []string{"VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_SKIP_VERIFY", "VAULT_ADDR", "VAULT_AGENT_ADDR"} {
		t.Setenv(name, "")
	}
	t.Setenv("VAULT_TOKEN", vaultToken)
	return newServer((*Server).serveVault)
}

// NewVaultKey makes a key, or a new version of one, and returns its URI as it
// is with TLS.
func (s *Server) NewVaultKey(name string) string {
	s.rotate(name)
	_, host, _ := strings.Cut(s.http.URL, "//")
	return "hcvault://" + host + "/transit/keys/" + name
}

// VaultFault answers as Vault does with an error.
func VaultFault(status int, errors ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		writeJSON(w, status, map[string][]string{"errors": errors})
	}
}

type vaultRequest struct {
	Plaintext      []byte `json:"plaintext"`
	Ciphertext     string `json:"ciphertext"`
	AssociatedData []byte `json:"associated_data"`
}

// serveVault: developer.hashicorp.com/vault/api-docs/secret/transit.
func (s *Server) serveVault(w http.ResponseWriter, r *http.Request) {
	var in vaultRequest
	op, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
	switch {
	case r.Header.Get("X-Vault-Token") != vaultToken:
		VaultFault(http.StatusForbidden, "permission denied")(w, r)
		return
	case r.Method != http.MethodPut || op != "encrypt" && op != "decrypt":
		VaultFault(http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", r.URL.Path))(w, r)
		return
	case json.NewDecoder(r.Body).Decode(&in) != nil:
		VaultFault(http.StatusBadRequest, "error parsing JSON")(w, r)
		return
	}
	data, err := s.serveTransit(op, name, in)
	switch {
	case errors.Is(err, errNoKey) && op == "encrypt": // may only update, not create
		VaultFault(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")(w, r)
	case errors.Is(err, errNoKey):
		VaultFault(http.StatusBadRequest, "encryption key not found")(w, r)
	case errors.Is(err, errCannotOpen):
		VaultFault(http.StatusBadRequest, "cipher: message authentication failed")(w, r)
	case err != nil:
		VaultFault(http.StatusBadRequest, err.Error())(w, r)
	default:
		w.Header().Set("Content-Type", "application/json")
		writeJSON(w, http.StatusOK, map[string]any{
			"request_id": "d5b5ab0f-6bb5-5a10-0b29-0a5f3a1a8b0c", "lease_id": "", "renewable": false, "lease_duration": 0,
			"data": data, "wrap_info": nil, "warnings": nil, "auth": nil,
		})
	}
}

func (s *Server) serveTransit(op, name string, in vaultRequest) (map[string]any, error) {
	if op == "encrypt" {
		version, sealed, err := s.encrypt(name, in.Plaintext, in.AssociatedData)
		text := fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(sealed))
		return map[string]any{"ciphertext": text, "key_version": version}, err
	}
	version, sealed, err := vaultCiphertext(in.Ciphertext)
	if err != nil {
		return nil, err
	}
	plain, err := s.decrypt(name, version, sealed, in.AssociatedData)
	if errors.Is(err, errNoVersion) {
		err = errors.New("invalid ciphertext: version is too new")
	}
	return map[string]any{"plaintext": plain}, err
}

// vaultCiphertext fails in the words of Vault.
func vaultCiphertext(text string) (version int, sealed []byte, err error) {
	rest, found := strings.CutPrefix(text, "vault:v")
	if !found {
		return 0, nil, errors.New("invalid ciphertext: no prefix")
	}
	number, encoded, found := strings.Cut(rest, ":")
	if !found {
		return 0, nil, errors.New("invalid ciphertext: wrong number of fields")
	}
	if _, err := fmt.Sscanf(number, "%d", &version); err != nil {
		return 0, nil, errors.New("invalid ciphertext: version number could not be decoded")
	}
	sealed, err = base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return 0, nil, errors.New("invalid ciphertext: could not decode base64")
	}
	return version, sealed, nil
}
