package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/keyward/keyward/client"
)

func Example() {
	ctx := context.Background()
	c, err := client.New("https://keys.example.com", os.Getenv("KEYWARD_API_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	signed, err := c.SignToken(ctx, "acme", client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"alice","aud":"api"}`)})
	if p := (*client.Problem)(nil); errors.As(err, &p) && p.Code == client.ProblemCodeTenantSuspended {
		log.Fatal("acme does not sign at present")
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signed.Token)
	for key, err := range c.Keys(ctx, "acme", &client.ListKeysParams{State: new(client.KeyStateActive)}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(key.KID, key.Alg, key.NextTransitionAt)
	}
}
