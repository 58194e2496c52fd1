package signer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/client/signer"
)

func Example() {
	ctx := context.Background()
	c, err := client.New("https://keys.example.com", os.Getenv("KEYWARD_API_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	s, err := signer.New(ctx, c, "acme", jose.ES256)
	if err != nil {
		log.Fatal(err)
	}
	js, err := jose.NewSigner(jose.SigningKey{Algorithm: s.Alg(), Key: s.Opaque()}, nil)
	if err != nil {
		log.Fatal(err)
	}
	jws, err := js.Sign([]byte("a document"))
	if errors.Is(err, signer.ErrKeyChanged) { // rotated since: once more, with the new kid
		jws, err = js.Sign([]byte("a document"))
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(jws.CompactSerialize())
}
