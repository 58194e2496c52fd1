package httpapi

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/keyward/keyward/keys/keystest"
)

// shown is all that the tests of this package made the program show: its logs,
// responses and databases.
var shown = keystest.New()

// TestMain fails a run in which a private key was shown, and a full one in which
// some operation of the document was never done.
func TestMain(m *testing.M) {
	shown.Tee()
	http.DefaultTransport = shown.Transport(http.DefaultTransport)
	code := m.Run()
	if code == 0 && entire() {
		code = unexercised()
	}
	if testing.Verbose() {
		learnt, bytes := shown.Seen()
		fmt.Printf("%d private keys were looked for in %d bytes\n", learnt, bytes)
	}
	os.Exit(shown.End(code))
}

// entire says whether every test was asked for, once.
func entire() bool {
	for _, name := range []string{"run", "skip", "list", "fuzz"} {
		if flag.Lookup("test."+name).Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

// unprovoked are documented answers that no test can bring about, and why.
var unprovoked = map[string]string{
	"streamPlatformEvents 500": "before it begins it asks the database for its clock, which cannot be broken; later errors end the stream",
}

// unexercised finds operations that no test has seen succeed.
func unexercised() (code int) {
	c, err := loadContract()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, operation := range operationNames(c.doc) {
		done := false
		for what := range c.seen[operation] {
			done = done || what < "300"
		}
		if !done {
			fmt.Printf("%s was never done: %v\n", operation, c.seen[operation])
			code = 1
		}
	}
	return code
}
