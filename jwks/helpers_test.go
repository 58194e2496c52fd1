package jwks_test

import (
	"context"
	"errors"

	"github.com/keyward/keyward/jwks"
)

var errRefused = errors.New("refused")

func refuse(context.Context, *jwks.Token) error { return errRefused }
