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
// some operation of the document was never asked for, or never with success.
func TestMain(m *testing.M) {
	shown.Tee()
	http.DefaultTransport = shown.Transport(http.DefaultTransport)
	code := m.Run()
	if full := flag.Lookup("test.run").Value.String() == "" && !testing.Short(); full && code == 0 {
		code = unexercised()
	}
	if testing.Verbose() {
		learnt, bytes := shown.Seen()
		fmt.Printf("%d private keys were looked for in %d bytes\n", learnt, bytes)
	}
	os.Exit(shown.End(code))
}

func unexercised() (code int) {
	c, err := loadContract()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, operation := range operationNames(c.doc) {
		done := false
		for status := range c.seen[operation] {
			done = done || status < 300
		}
		if !done {
			fmt.Printf("%s was never done: %v\n", operation, c.seen[operation])
			code = 1
		}
	}
	return code
}
