package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"
)

const forProbe purpose = "keyward probe"

// kms is a master key that never leaves a key management service: the service
// itself wraps and unwraps each data key, with the same associated data as a
// local master key, one call for each.
//
// A KMS rotates such a key itself, opens with any of its versions and hardly
// shows them. So what stands for a version here is the moment at which Keyward
// was given the key, every such moment names the same key, and the key checks
// say which ciphertexts are its own. A key that was left can thus be returned
// to, and one that was rotated in the KMS can take over from itself, which
// wraps everything anew.
type kms struct {
	provider
	options kmsOptions
	name    string // the version under which this Ring would be registered
	// doubted is set where associated data may be ignored. It is tried where it
	// must be and nowhere else: in a log, the refusal looks like an attack.
	doubted bool

	mu   sync.Mutex
	aead tink.AEADWithContext // nil before it has worked once
}

// provider is one key of one kind of KMS.
type provider interface {
	// dial prepares calls, from the environment's credentials.
	newClient(ctx context.Context) (tink.AEADWithContext, error)
	// judge says what the error of a call means.
	classifyError(err error) fault
	// advice says how somebody makes and rotates the key where it is.
	howToFix() (create, rotate string)
}

// versionLayout is how the version of a key in a KMS is written.
const versionLayout = "20060102T150405.000Z"

func newKMS(p provider, o kmsOptions) *kms {
	return &kms{provider: p, options: o, name: time.Now().UTC().Format(versionLayout)}
}

// load tries the key once, so that a missing right shows before anything
// depends on it.
func (k *kms) load(ctx context.Context) ([]version, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aead == nil {
		r := &remote{provider: k.provider, timeout: k.options.timeout}
		if err := checkRoundTrip(ctx, r, k.doubted); err != nil {
			return nil, err
		}
		k.aead = r
	}
	return []version{{k.name, k.aead}}, nil
}

// checkRoundTrip checks that the key decrypts its own ciphertext and, if that
// is in doubt, refuses other associated data.
func checkRoundTrip(ctx context.Context, a tink.AEADWithContext, doubted bool) error {
	plain, ad := []byte(forProbe), forProbe.bindFields()
	sealed, err := a.EncryptWithContext(ctx, plain, ad)
	if err != nil {
		return err
	}
	opened, err := a.DecryptWithContext(ctx, sealed, ad)
	if errors.Is(err, ErrCannotOpen) || err == nil && !bytes.Equal(opened, plain) {
		return fmt.Errorf("%w: it does not decrypt what it encrypts", ErrUnfit)
	}
	if err != nil || !doubted {
		return err
	}
	_, err = a.DecryptWithContext(ctx, sealed, forProbe.bindFields(plain))
	switch {
	case err == nil:
		return fmt.Errorf("%w: it does not check associated data", ErrUnfit)
	case errors.Is(err, ErrCannotOpen):
		return nil
	}
	return err
}

// version returns the key under an earlier name.
func (k *kms) version(name string) (version, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, err := time.Parse(versionLayout, name)
	return version{name, k.aead}, err == nil && k.aead != nil
}

// create finds the key, or says how it is made.
func (k *kms) create(ctx context.Context) error {
	_, err := k.load(ctx)
	switch create, _ := k.howToFix(); {
	case err == nil:
		return ErrExists
	case errors.Is(err, ErrNoMasterKey):
		return fmt.Errorf("%w: %w; create it with `%s`", ErrReadOnly, err, create)
	case errors.Is(err, ErrDenied):
		return fmt.Errorf("%w; if it does not exist, create it with `%s`", err, create)
	}
	return err
}

func (k *kms) add(context.Context) (string, error) {
	_, rotate := k.howToFix()
	return "", fmt.Errorf("%w: the KMS rotates it (%s) and goes on opening what it wrapped before; `keyward master rotate --to` this same URI "+
		"then wraps everything anew, and --to another URI changes to another key", ErrReadOnly, rotate)
}

func (k *kms) remove(context.Context, string) error {
	return fmt.Errorf("%w: disable or destroy it in the KMS, once no backup needs it", ErrReadOnly)
}
