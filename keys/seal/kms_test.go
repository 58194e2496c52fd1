package seal_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/seal/kmstest"
)

// service is one kind of KMS, faked, and how it says what every kind says.
type service struct {
	start     func(testing.TB) *kmstest.Server
	another   func(*kmstest.Server) string // makes a second key
	missing   error                        // what using a key that does not exist is
	throttled http.HandlerFunc
	broken    http.HandlerFunc
	denied    http.HandlerFunc
	garbled   []http.HandlerFunc
}

var services = map[string]service{
	"aws-kms": {
		start:     kmstest.NewAWS,
		another:   func(s *kmstest.Server) string { return s.NewAWSKey("99999999-12ab-34cd-56ef-1234567890ab") },
		missing:   seal.ErrNoMasterKey,
		throttled: kmstest.AWSFault(http.StatusBadRequest, "ThrottlingException", "Rate exceeded"),
		broken:    kmstest.AWSFault(http.StatusInternalServerError, "KMSInternalException", ""),
		denied:    kmstest.AWSFault(http.StatusBadRequest, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/keyward is not authorized to perform: kms:Encrypt"),
		garbled: []http.HandlerFunc{
			text(http.StatusOK, "application/x-amz-json-1.1", "{}"), text(http.StatusOK, "application/x-amz-json-1.1", `{"Plaintext":7,"CiphertextBlob":7}`),
			text(http.StatusOK, "text/html", "<html>Log in to the network</html>"),
		},
	},
	"hcvault": {
		start:     kmstest.NewVault,
		another:   func(s *kmstest.Server) string { return s.NewVaultKey("another") + "?tls=off" },
		missing:   seal.ErrDenied, // to make it would be another right
		throttled: kmstest.VaultFault(http.StatusTooManyRequests, "request path \"transit/encrypt/keyward\": rate limit quota exceeded"),
		broken:    kmstest.VaultFault(http.StatusServiceUnavailable, "Vault is sealed"),
		denied:    kmstest.VaultFault(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n"),
		garbled: []http.HandlerFunc{
			text(http.StatusOK, "application/json", "{}"), text(http.StatusOK, "application/json", `{"data":{"plaintext":7,"ciphertext":7}}`),
			text(http.StatusOK, "application/json", `{"data":{"plaintext":"?"}}`), text(http.StatusOK, "text/html", "<html>Log in to the network</html>"),
		},
	},
}

func text(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// silent answers when the client has given up.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func eachKMS(t *testing.T, test func(t *testing.T, k service, s *kmstest.Server)) {
	for name, k := range services {
		t.Run(name, func(t *testing.T) { test(t, k, k.start(t)) })
	}
}

func openKMS(t testing.TB, uri string) *seal.Ring {
	t.Helper()
	r, err := seal.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with appends an option to a URI.
func with(uri, option string) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + option
	}
	return uri + "?" + option
}

func TestKMSWrapsDataKeys(t *testing.T) {
	eachKMS(t, func(t *testing.T, k service, s *kmstest.Server) {
		m, other := newest(t, openKMS(t, s.URI)), newest(t, openKMS(t, k.another(s)))
		key := newDataKey(t)
		encrypts, decrypts := s.Calls("encrypt"), s.Calls("decrypt")
		wrapped, err := m.WrapDataKey(t.Context(), tenantA, 3, key)
		if err != nil || bytes.Contains(wrapped, seal.Material(key)) {
			t.Fatal("wrap:", err)
		}
		again, err := m.UnwrapDataKey(t.Context(), tenantA, 3, wrapped)
		if err != nil || !bytes.Equal(seal.Material(again), seal.Material(key)) {
			t.Fatal("unwrap:", err)
		}
		if s.Calls("encrypt") != encrypts+1 || s.Calls("decrypt") != decrypts+1 {
			t.Error("want one call each")
		}
		_, err = m.UnwrapDataKey(t.Context(), tenantB, 3, wrapped)
		wantErr(t, "other tenant", err, seal.ErrCannotOpen)
		_, err = m.UnwrapDataKey(t.Context(), tenantA, 4, wrapped)
		wantErr(t, "other version", err, seal.ErrCannotOpen)
		_, err = other.UnwrapDataKey(t.Context(), tenantA, 3, wrapped)
		wantErr(t, "other key", err, seal.ErrCannotOpen)
		for _, n := range []int{0, 1, len(wrapped) / 2, len(wrapped) - 1} {
			damaged := bytes.Clone(wrapped)
			damaged[n] ^= 0x20
			_, err = m.UnwrapDataKey(t.Context(), tenantA, 3, damaged)
			wantErr(t, "damaged", err, seal.ErrCannotOpen)
			_, err = m.UnwrapDataKey(t.Context(), tenantA, 3, wrapped[:n])
			wantErr(t, "truncated", err, seal.ErrCannotOpen)
		}
	})
}

func TestKMSKeyChecksAndEndorsements(t *testing.T) {
	eachKMS(t, func(t *testing.T, k service, s *kmstest.Server) {
		m, other := newest(t, openKMS(t, s.URI)), newest(t, openKMS(t, k.another(s)))
		check, err := m.KeyCheck(t.Context(), tenantA)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.VerifyKeyCheck(t.Context(), tenantA, check); err != nil {
			t.Error(err)
		}
		wantErr(t, "other row", m.VerifyKeyCheck(t.Context(), tenantB, check), seal.ErrWrongMasterKey)
		wantErr(t, "other key", other.VerifyKeyCheck(t.Context(), tenantA, check), seal.ErrWrongMasterKey)
		next := seal.Successor{ID: tenantA, URI: other.URI(), Version: other.Version()}
		endorsement, err := m.Endorse(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.VerifyEndorsement(t.Context(), next, endorsement); err != nil {
			t.Error(err)
		}
		wantErr(t, "forged", other.VerifyEndorsement(t.Context(), next, endorsement), seal.ErrWrongMasterKey)
		// A local master key's ciphertext is as foreign as any.
		local, _ := newest(t, newRing(t)).KeyCheck(t.Context(), tenantA)
		wantErr(t, "local", m.VerifyKeyCheck(t.Context(), tenantA, local), seal.ErrWrongMasterKey)
	})
}

// A key in a KMS is the same under the name of every moment it was given.
func TestKMSVersionsAreMoments(t *testing.T) {
	eachKMS(t, func(t *testing.T, _ service, s *kmstest.Server) {
		first := openKMS(t, s.URI)
		check, _ := newest(t, first).KeyCheck(t.Context(), tenantA)
		later := openKMS(t, s.URI)
		calls := s.Calls("encrypt")
		m, err := later.Key(t.Context(), first.Newest())
		if err != nil || m.Version() != first.Newest() {
			t.Fatal(m, err)
		}
		if err := m.VerifyKeyCheck(t.Context(), tenantA, check); err != nil {
			t.Error(err)
		}
		_, err = later.Key(t.Context(), newRing(t).Newest())
		wantErr(t, "the version of a keyset", err, seal.ErrUnknownVersion)
		if s.Calls("encrypt") != calls {
			t.Error("looking for versions asked the KMS")
		}
	})
}

func TestKMSIsNotChangedFromHere(t *testing.T) {
	eachKMS(t, func(t *testing.T, k service, s *kmstest.Server) {
		r := openKMS(t, s.URI)
		_, err := r.AddVersion(t.Context())
		wantErr(t, "AddVersion", err, seal.ErrReadOnly)
		if !strings.Contains(err.Error(), "rotate") || !strings.Contains(err.Error(), "--to") {
			t.Errorf("%v: want what to do", err)
		}
		wantErr(t, "RemoveVersion", r.RemoveVersion(t.Context(), r.Newest()), seal.ErrReadOnly)
		_, err = seal.Init(t.Context(), s.URI)
		wantErr(t, "Init", err, seal.ErrExists)
		gone := strings.ReplaceAll(strings.ReplaceAll(s.URI, "1234abcd", "00000000"), "keys/keyward", "keys/nothing")
		_, err = seal.Open(t.Context(), gone)
		wantErr(t, "Open what is not there", err, k.missing)
		_, err = seal.Init(t.Context(), gone)
		wantErr(t, "Init what is not there", err, k.missing)
		if !strings.Contains(err.Error(), "create it with") {
			t.Errorf("%v: want what to do", err)
		}
	})
}

// What passes is tried again, and nothing else.
func TestKMSRetries(t *testing.T) {
	eachKMS(t, func(t *testing.T, k service, s *kmstest.Server) {
		m, key := newest(t, openKMS(t, with(s.URI, "timeout=300ms"))), newDataKey(t)
		for _, c := range []struct {
			what    string
			instead []http.HandlerFunc
			want    error
			calls   int
		}{
			{"throttled, then well", []http.HandlerFunc{k.throttled, k.throttled}, nil, 2},
			{"broken, then well", []http.HandlerFunc{k.broken}, nil, 1},
			{"silent, then well", []http.HandlerFunc{silent}, nil, 1},
			{"hung up, then well", []http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}, nil, 1},
			{"throttled for good", []http.HandlerFunc{k.throttled, k.throttled, k.throttled, k.throttled}, seal.ErrUnavailable, 3},
			{"silent for good", []http.HandlerFunc{silent, silent, silent, silent}, seal.ErrUnavailable, 3},
			{"denied", []http.HandlerFunc{k.denied, k.denied}, seal.ErrDenied, 1},
		} {
			before, counted := s.Calls("instead"), seal.CountCalls()
			s.Instead(c.instead...)
			_, err := m.WrapDataKey(t.Context(), tenantA, 1, key)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.what, err, c.want)
			}
			if got := s.Calls("instead") - before; got != c.calls {
				t.Errorf("%s: %d calls went wrong, want %d", c.what, got, c.calls)
			}
			if now := seal.CountCalls(); now.Failed-counted.Failed < int64(c.calls) || err == nil && now.Answered == counted.Answered {
				t.Errorf("%s: counted %+v, before %+v", c.what, now, counted)
			}
			if err != nil && !strings.Contains(err.Error(), strings.Split(m.URI(), "?")[0]) {
				t.Errorf("%s: %v does not name the key", c.what, err)
			}
		}
	})
}

// An answer that is none says nothing about the ciphertext.
func TestKMSMalformedAnswers(t *testing.T) {
	eachKMS(t, func(t *testing.T, k service, s *kmstest.Server) {
		m := newest(t, openKMS(t, s.URI))
		wrapped, err := m.WrapDataKey(t.Context(), tenantA, 1, newDataKey(t))
		if err != nil {
			t.Fatal(err)
		}
		for i, garbled := range k.garbled {
			s.Instead(garbled, garbled, garbled)
			if _, err = m.UnwrapDataKey(t.Context(), tenantA, 1, wrapped); err == nil || errors.Is(err, seal.ErrCannotOpen) {
				t.Errorf("decrypt, answer %d: %v", i, err)
			}
			s.Instead(garbled, garbled, garbled)
			if _, err = m.WrapDataKey(t.Context(), tenantA, 1, newDataKey(t)); err == nil {
				t.Errorf("encrypt, answer %d was believed", i)
			}
		}
	})
}

func TestKMSCallsEndWithTheirContext(t *testing.T) {
	eachKMS(t, func(t *testing.T, k service, s *kmstest.Server) {
		m, check := newest(t, openKMS(t, s.URI)), []byte("x")
		ctx, cancel := context.WithCancel(t.Context())
		s.Instead(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
		wantErr(t, "cancelled", m.VerifyKeyCheck(ctx, tenantA, check), context.Canceled)
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		s.Instead(func(w http.ResponseWriter, r *http.Request) { cancel(); k.broken(w, r) })
		wantErr(t, "cancelled in a pause", m.VerifyKeyCheck(ctx, tenantA, check), context.Canceled)
	})
}

func TestKMSThatIsAway(t *testing.T) {
	eachKMS(t, func(t *testing.T, _ service, s *kmstest.Server) {
		m := newest(t, openKMS(t, s.URI))
		s.Close()
		_, err := m.KeyCheck(t.Context(), tenantA)
		wantErr(t, "KeyCheck", err, seal.ErrUnavailable)
		_, err = seal.Open(t.Context(), s.URI)
		wantErr(t, "Open", err, seal.ErrUnavailable)
	})
}
