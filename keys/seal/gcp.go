package seal

import (
	"context"
	"fmt"
	"regexp"

	"github.com/tink-crypto/tink-go-gcpkms/v2/integration/gcpkms"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// gcpKey is a symmetric key of Google Cloud KMS. Its client sends and checks
// CRC32C sums of all that goes over the wire.
//
// A version of a key is refused: the key decrypts what any of its versions
// made, and encrypts with the primary one.
type gcpKey struct{ name string }

var gcpName = regexp.MustCompile(`^projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]+/cryptoKeys/[A-Za-z0-9_-]+$`)

// gcpOptions are more ways to reach the service; only tests have some.
var gcpOptions []option.ClientOption

func newGCP(rest string) (source, string, error) {
	name, o, options, err := splitKMS(rest, "timeout")
	if err != nil {
		return nil, "", err
	}
	if !gcpName.MatchString(name) {
		return nil, "", fmt.Errorf("%w: want a key and none of its versions, as in gcp-kms://projects/…/locations/…/keyRings/…/cryptoKeys/…", ErrBadURI)
	}
	return newKMS(gcpKey{name}, o), "gcp-kms://" + name + options, nil
}

// newClient takes the Application Default Credentials. They renew themselves with
// the context they were made with, so that must not end; looking for them may
// take longer than the caller waits.
func (k gcpKey) newClient(ctx context.Context) (tink.AEADWithContext, error) {
	opts := gcpkms.WithGoogleAPIClientOptions(gcpOptions...)
	done := make(chan struct{})
	var found tink.AEADWithContext
	var missing error
	go func() {
		defer close(done)
		found, missing = gcpkms.GetAEADWithContext(context.WithoutCancel(ctx), "gcp-kms://"+k.name, opts)
	}()
	select {
	case <-done:
		return found, missing
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// gcpFaults are what Cloud KMS answers. A ciphertext that does not belong is
// an invalid argument, and so is nothing else that is ever sent.
var gcpFaults = map[codes.Code]error{
	codes.InvalidArgument:    ErrCannotOpen,
	codes.NotFound:           ErrNoMasterKey,
	codes.PermissionDenied:   ErrDenied,
	codes.Unauthenticated:    ErrDenied,
	codes.Unavailable:        ErrUnavailable,
	codes.ResourceExhausted:  ErrUnavailable,
	codes.DeadlineExceeded:   ErrUnavailable,
	codes.Internal:           ErrUnavailable,
	codes.Aborted:            ErrUnavailable,
	codes.FailedPrecondition: nil, // the version is disabled or destroyed
}

func (k gcpKey) classifyError(err error) fault {
	s, ok := status.FromError(err)
	if !ok {
		return fault{nil, err.Error()}
	}
	return fault{gcpFaults[s.Code()], s.Code().String() + ": " + s.Message()}
}

func (k gcpKey) howToFix() (create, rotate string) {
	return "gcloud kms keys create --purpose=encryption", "gcloud kms keys versions create --primary"
}
