package seal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash/crc32"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/keyward/keyward/keys/seal"
)

const gcpURI = "gcp-kms://projects/p/locations/europe-west3/keyRings/r/cryptoKeys/keyward"

// gcpFake speaks Encrypt and Decrypt of google.cloud.kms.v1 over gRPC.
type gcpFake struct {
	kmspb.UnimplementedKeyManagementServiceServer
	calls   atomic.Int32
	fails   atomic.Int32 // so many calls fail with code
	code    codes.Code
	corrupt atomic.Bool // sums do not match
	silent  atomic.Bool // does not answer in time
	traced  atomic.Value
}

// traceparents returns those of the last call.
func (f *gcpFake) traceparents() []string { return f.traced.Load().([]string) }

func newGCP(t *testing.T) *gcpFake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, s := &gcpFake{}, grpc.NewServer()
	kmspb.RegisterKeyManagementServiceServer(s, f)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	seal.UseGCP(t, option.WithEndpoint(l.Addr().String()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	return f
}

func sum(b []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
}

func (f *gcpFake) came(ctx context.Context, name string, ad []byte, adSum *wrapperspb.Int64Value) error {
	f.calls.Add(1)
	f.traced.Store(metadata.ValueFromIncomingContext(ctx, "traceparent"))
	if f.silent.Load() {
		// The deadline may pass here before it does at the client, which would
		// then take an answer.
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	switch {
	case f.fails.Add(-1) >= 0:
		return status.Error(f.code, "as the test wants")
	case strings.Contains(name, "nothing"):
		return status.Error(codes.NotFound, "CryptoKey "+name+" not found.")
	case adSum.GetValue() != sum(ad).GetValue():
		return status.Error(codes.InvalidArgument, "The checksum does not match.")
	}
	return nil
}

// key makes each name another key.
func gcpMaterial(name string) [32]byte { return sha256.Sum256([]byte(name)) }

func (f *gcpFake) Encrypt(ctx context.Context, in *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	if err := f.came(ctx, in.Name, in.AdditionalAuthenticatedData, in.AdditionalAuthenticatedDataCrc32C); err != nil {
		return nil, err
	}
	ciphertext, err := seal.DataKeyOf(gcpMaterial(in.Name)).Seal(tenantA, 1, string(in.AdditionalAuthenticatedData), in.Plaintext)
	out := &kmspb.EncryptResponse{
		Name: in.Name + "/cryptoKeyVersions/1", Ciphertext: ciphertext, CiphertextCrc32C: sum(ciphertext),
		VerifiedPlaintextCrc32C: in.PlaintextCrc32C.GetValue() == sum(in.Plaintext).GetValue(), VerifiedAdditionalAuthenticatedDataCrc32C: true,
	}
	if f.corrupt.Load() {
		out.CiphertextCrc32C.Value++
	}
	return out, err
}

func (f *gcpFake) Decrypt(ctx context.Context, in *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	if err := f.came(ctx, in.Name, in.AdditionalAuthenticatedData, in.AdditionalAuthenticatedDataCrc32C); err != nil {
		return nil, err
	}
	plain, err := seal.DataKeyOf(gcpMaterial(in.Name)).Open(tenantA, 1, string(in.AdditionalAuthenticatedData), in.Ciphertext)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "Decryption failed: the ciphertext is invalid.")
	}
	out := &kmspb.DecryptResponse{Plaintext: plain, PlaintextCrc32C: sum(plain), UsedPrimary: true}
	if f.corrupt.Load() {
		out.PlaintextCrc32C.Value++
	}
	return out, nil
}

func TestGCPWrapsDataKeys(t *testing.T) {
	f := newGCP(t)
	m, other := newest(t, openKMS(t, gcpURI)), newest(t, openKMS(t, gcpURI+"2"))
	key, before := newDataKey(t), f.calls.Load()
	wrapped, err := m.WrapDataKey(t.Context(), tenantA, 3, key)
	if err != nil || bytes.Contains(wrapped, seal.Material(key)) {
		t.Fatal("wrap:", err)
	}
	again, err := m.UnwrapDataKey(t.Context(), tenantA, 3, wrapped)
	if err != nil || !bytes.Equal(seal.Material(again), seal.Material(key)) || f.calls.Load() != before+2 {
		t.Fatal("unwrap:", err)
	}
	_, err = m.UnwrapDataKey(t.Context(), tenantB, 3, wrapped)
	wantErr(t, "other tenant", err, seal.ErrCannotOpen)
	_, err = other.UnwrapDataKey(t.Context(), tenantA, 3, wrapped)
	wantErr(t, "other key", err, seal.ErrCannotOpen)
	_, err = m.UnwrapDataKey(t.Context(), tenantA, 3, wrapped[:20])
	wantErr(t, "truncated", err, seal.ErrCannotOpen)
}

func TestGCPFailures(t *testing.T) {
	f := newGCP(t)
	_, err := seal.Open(t.Context(), strings.Replace(gcpURI, "keyward", "nothing", 1))
	wantErr(t, "not there", err, seal.ErrNoMasterKey)
	_, err = seal.Init(t.Context(), strings.Replace(gcpURI, "keyward", "nothing", 1))
	wantErr(t, "Init", err, seal.ErrReadOnly)
	m, key := newest(t, openKMS(t, gcpURI+"?timeout=200ms")), newDataKey(t)
	for _, c := range []struct {
		code  codes.Code
		fails int32
		want  error
		calls int32
	}{
		{codes.ResourceExhausted, 2, nil, 3},
		{codes.ResourceExhausted, 9, seal.ErrUnavailable, 3},
		{codes.Internal, 1, nil, 2},
		{codes.PermissionDenied, 9, seal.ErrDenied, 1},
	} {
		f.code = c.code
		f.fails.Store(c.fails)
		before := f.calls.Load()
		_, err := m.WrapDataKey(t.Context(), tenantA, 1, key)
		wantErr(t, c.code.String(), err, c.want)
		if got := f.calls.Load() - before; got != c.calls {
			t.Errorf("%v: %d calls, want %d", c.code, got, c.calls)
		}
		f.fails.Store(0)
	}
	f.corrupt.Store(true)
	if _, err := m.WrapDataKey(t.Context(), tenantA, 1, key); err == nil || !strings.Contains(err.Error(), "corrupted") {
		t.Errorf("corrupted: %v", err)
	}
	f.corrupt.Store(false)
	f.silent.Store(true)
	_, err = m.WrapDataKey(t.Context(), tenantA, 1, key)
	wantErr(t, "silent", err, seal.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.WrapDataKey(ctx, tenantA, 1, key)
	wantErr(t, "cancelled", err, context.Canceled)
}

func TestGCPURIs(t *testing.T) {
	if got, err := seal.Canonical(gcpURI); err != nil || got != gcpURI {
		t.Error(got, err)
	}
	for _, uri := range []string{"gcp-kms:projects/p", gcpURI + "/cryptoKeyVersions/1", gcpURI + "?tls=off", "gcp-kms://u:p@" + gcpURI[10:]} {
		_, err := seal.Canonical(uri)
		wantErr(t, uri, err, seal.ErrBadURI)
	}
}
