package seal_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/seal/kmstest"
)

func TestVaultWithTLS(t *testing.T) {
	s := kmstest.NewVaultTLS(t)
	t.Setenv("VAULT_NAMESPACE", "team/keys")
	t.Setenv("VAULT_ADDR", "https://elsewhere.invalid")
	t.Setenv("VAULT_AGENT_ADDR", "https://elsewhere.invalid")
	openKMS(t, s.URI)
	if got := s.Last().Header.Get("X-Vault-Namespace"); strings.Trim(got, "/") != "team/keys" {
		t.Errorf("namespace %q", got)
	}
	t.Setenv("VAULT_CACERT", "")
	_, err := seal.Open(t.Context(), s.URI)
	if err == nil || errors.Is(err, seal.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	if _, err := seal.Open(t.Context(), s.URI); err == nil || !strings.Contains(err.Error(), "VAULT_SKIP_VERIFY") {
		t.Errorf("VAULT_SKIP_VERIFY: %v", err)
	}
}

func TestVaultErrorsShowNoToken(t *testing.T) {
	s := kmstest.NewVault(t)
	t.Setenv("VAULT_TOKEN", "hvs.hunter2")
	_, err := seal.Open(t.Context(), s.URI)
	wantErr(t, "wrong token", err, seal.ErrDenied)
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "permission denied") {
		t.Error(err)
	}
}

// Vault before 1.9 knows no associated data, and ignores what it doesn't know.
func TestVaultThatIgnoresAssociatedData(t *testing.T) {
	s := kmstest.NewVault(t)
	s.Deafen()
	_, err := seal.Open(t.Context(), s.URI)
	wantErr(t, "Open", err, seal.ErrUnfit)
}

// What Vault wrapped before it rotated the key opens, until it is told not to.
func TestVaultRotates(t *testing.T) {
	s := kmstest.NewVault(t)
	m := newest(t, openKMS(t, s.URI))
	check, _ := m.KeyCheck(t.Context(), tenantA)
	s.NewVaultKey("keyward")
	if err := m.VerifyKeyCheck(t.Context(), tenantA, check); err != nil {
		t.Error(err)
	}
	s.Instead(kmstest.VaultFault(400, "ciphertext or signature version is disallowed by policy (too old)"))
	err := m.VerifyKeyCheck(t.Context(), tenantA, check)
	if err == nil || strings.Contains(err.Error(), seal.ErrWrongMasterKey.Error()) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("min_decryption_version: %v", err)
	}
}

func TestKMSURIs(t *testing.T) {
	const key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	for uri, want := range map[string]string{
		"aws-kms://" + key:                                               "aws-kms://" + key,
		"AWS-KMS://" + key + "?timeout=5000ms":                           "aws-kms://" + key,
		"aws-kms://" + key + "?timeout=2000ms":                           "aws-kms://" + key + "?timeout=2s",
		"hcvault://Vault.example:8200/transit/keys/k":                    "hcvault://vault.example:8200/transit/keys/k",
		"hcvault://[::1]:8200/a/b/keys/k?tls=off":                        "hcvault://[::1]:8200/a/b/keys/k?tls=off",
		"hcvault://vault/transit/keys/k?timeout=1s&tls=off-over-network": "hcvault://vault/transit/keys/k?timeout=1s&tls=off-over-network",
	} {
		if got, err := seal.Canonical(uri); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", uri, got, err, want)
		}
	}
	for _, uri := range []string{
		"aws-kms:" + key, "aws-kms://", "aws-kms://arn:aws:kms:eu-central-1:111122223333:alias/keyward", "aws-kms://" + key + "#x",
		"aws-kms://" + key + "?timeout=0s", "aws-kms://" + key + "?timeout=x", "aws-kms://" + key + "?secret=hunter2", "aws-kms://" + key + "?tls=off",
		"aws-kms://AKIA:hunter2@" + key, "hcvault://", "hcvault://vault", "hcvault:///transit/keys/k", "hcvault://vault/keys/k", "hcvault://vault/transit/k",
		"hcvault://root:hunter2@vault/transit/keys/k", "hcvault://vault/transit/keys/../k", "hcvault://vault/transit/keys/k?token=hunter2",
		"hcvault://vault/transit/keys/k?tls=off", "hcvault://vault/transit/keys/k?tls=no", "hcvault://vault/transit/keys/k?tls=off&tls=off",
	} {
		_, err := seal.Canonical(uri)
		wantErr(t, uri, err, seal.ErrBadURI)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	}
}
