package seal

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// env is a master key in an environment variable: the content of a master key
// file in base64, with or without line breaks and padding. Keyward only reads
// it; whoever sets the variable makes and changes it.
type env struct{ name string }

// envName is what POSIX reserves for the names of variables (IEEE 1003.1
// section 8.1). Nothing else is accepted, and so shown in an error: it might
// be the key itself, put where its name belongs.
var envName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,63}$`)

const (
	envMake = "make one with `keyward --master-key file:master.json master init` and set the variable to `base64 master.json`"
	envNext = "set another variable to another master key for all processes, and then `keyward master rotate --to env:THAT_ONE`"
)

func newEnv(rest string) (source, string, error) {
	if !envName.MatchString(rest) {
		return nil, "", fmt.Errorf("%w: want the name of an environment variable in capitals, as in env:KEYWARD_MASTER_KEYSET", ErrBadURI)
	}
	return env{rest}, "env:" + rest, nil
}

func (e env) load(ctx context.Context) ([]version, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text := strings.Join(strings.Fields(os.Getenv(e.name)), "")
	if text == "" {
		return nil, fmt.Errorf("%w: the environment variable is not set; %s", ErrNoMasterKey, envMake)
	}
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: the environment variable is not in base64; %s", ErrNotMasterKey, envMake)
	}
	defer clear(data)
	h, err := parseKeyset(data)
	if err != nil {
		return nil, err
	}
	return versionsOf(h)
}

// create refuses: a new key would have to be shown, and a terminal or the log
// of a start-up script would store it.
func (e env) create(ctx context.Context) error {
	if _, err := e.load(ctx); err == nil {
		return ErrExists
	}
	return fmt.Errorf("%w: %s", ErrReadOnly, envMake)
}

func (e env) add(context.Context) (string, error) {
	return "", fmt.Errorf("%w: %s", ErrReadOnly, envNext)
}

func (e env) remove(context.Context, string) error {
	return fmt.Errorf("%w: take it out of the variable's value", ErrReadOnly)
}
