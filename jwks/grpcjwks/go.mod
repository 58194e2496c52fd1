module github.com/keyward/keyward/jwks/grpcjwks

go 1.27.0

require (
	github.com/go-jose/go-jose/v4 v4.1.8
	github.com/keyward/keyward v0.1.0
	google.golang.org/grpc v1.84.0
)

require (
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261005182115-fad411399dd8 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/keyward/keyward => ../..
