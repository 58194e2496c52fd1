package grpcjwks_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/grpcjwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// dial gives a client of a health server behind a guard. A method of it is
// unary, the other streams.
func dial(t *testing.T, issuer *jwkstest.Issuer, config grpcjwks.Config) healthpb.HealthClient {
	t.Helper()
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: issuer.URL, Keys: jwks.Config{HTTPClient: issuer.Client()},
		Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	guard := grpcjwks.New(verifier, config)
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(guard.Unary, seesToken), grpc.ChainStreamInterceptor(guard.Stream))
	healthpb.RegisterHealthServer(server, health.NewServer())
	listener := bufconn.Listen(1 << 16)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return healthpb.NewHealthClient(conn)
}

// seesToken fails calls whose token the guard did not hand on.
func seesToken(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if _, ok := jwks.FromContext(ctx); !ok && len(metadata.ValueFromIncomingContext(ctx, "authorization")) > 0 {
		return nil, status.Error(codes.DataLoss, "no token")
	}
	return next(ctx, request)
}

// call makes a unary and a streaming call.
func call(ctx context.Context, t *testing.T, client healthpb.HealthClient) (unary, stream codes.Code) {
	t.Helper()
	_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
	watch, errWatch := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if errWatch == nil {
		_, errWatch = watch.Recv()
	}
	return status.Code(err), status.Code(errWatch)
}

func TestCalls(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	config := grpcjwks.Config{Scopes: func(string) []string { return []string{"health"} }}
	for name, test := range map[string]struct {
		fields []string
		want   codes.Code
	}{
		"good":     {[]string{"Bearer " + issuer.Token("1", jwkstest.Claims{"aud": "orders", "scope": "health"})}, codes.OK},
		"no scope": {[]string{"Bearer " + issuer.Token("1", jwkstest.Claims{"aud": "orders"})}, codes.PermissionDenied},
		"expired":  {[]string{"Bearer " + issuer.Token("1", jwkstest.Claims{"aud": "orders", "exp": 1})}, codes.Unauthenticated},
		"none":     {nil, codes.Unauthenticated},
		"two":      {[]string{"Bearer a", "Bearer b"}, codes.Unauthenticated},
		"basic":    {[]string{"Basic YTpi"}, codes.Unauthenticated},
	} {
		refused := 0
		config.OnRefusal = func(context.Context, string, error) { refused++ }
		ctx := t.Context()
		for _, field := range test.fields {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", field)
		}
		unary, stream := call(ctx, t, dial(t, issuer, config))
		if unary != test.want || stream != test.want || (refused == 2) != (test.want != codes.OK) {
			t.Errorf("%s: unary %s, stream %s, want %s; %d refusals seen", name, unary, stream, test.want, refused)
		}
	}
}

func TestPublicMethodsNeedNoToken(t *testing.T) {
	client := dial(t, jwkstest.New("https://issuer.example"), grpcjwks.Config{
		Public: func(method string) bool { return method == healthpb.Health_Check_FullMethodName },
	})
	if unary, stream := call(t.Context(), t, client); unary != codes.OK || stream != codes.Unauthenticated {
		t.Error(unary, stream)
	}
}

func TestKeysThatCannotBeHad(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	issuer.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+issuer.Token("1", jwkstest.Claims{"aud": "orders"}))
	if unary, stream := call(ctx, t, dial(t, issuer, grpcjwks.Config{})); unary != codes.Unavailable || stream != codes.Unavailable {
		t.Error(unary, stream)
	}
}
