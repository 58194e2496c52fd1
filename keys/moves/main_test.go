package moves

import (
	"fmt"
	"os"
	"testing"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
)

// shown is all that the tests of this package made the program show. The run
// fails if one of the private keys that it made is in it.
var shown = keystest.New()

func TestMain(m *testing.M) {
	shown.Tee()
	code := m.Run()
	if testing.Verbose() {
		learnt, bytes := shown.Seen()
		fmt.Printf("%d private keys were looked for in %d bytes\n", learnt, bytes)
	}
	os.Exit(shown.End(code))
}

// learn is what a generator of a test tells of its keys.
func learn(made keys.Private, err error) {
	if err == nil {
		shown.Learn(keystest.Signer(made))
	}
}
