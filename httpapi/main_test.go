package httpapi

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/keyward/keyward/httpapi/browsertest"
	"github.com/keyward/keyward/keys/keystest"
)

// shown is all that the tests of this package made the program show: its logs,
// responses and databases.
var shown = keystest.New()

// TestMain fails a run in which a private key was shown, and a full one in which
// some answer of the document never came.
func TestMain(m *testing.M) {
	shown.Tee()
	http.DefaultTransport = shown.Transport(http.DefaultTransport)
	code := m.Run()
	browsertest.Close()
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
	"streamPlatformEvents 500":                          "before it begins it asks the database for its clock, which cannot be broken; later errors end the stream",
	"streamPlatformEvents 500 application/problem+json": "the same",
}

// unexercised finds documented answers that no test has seen, by their status and
// each of their media types.
func unexercised() (code int) {
	c, err := loadContract()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, item := range c.doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, what := range promised(op) {
				if _, never := unprovoked[op.OperationID+" "+what]; !never && !c.seen[op.OperationID][what] {
					fmt.Printf("openapi.yaml: %s: no test has seen %s\n", op.OperationID, what)
					code = 1
				}
			}
		}
	}
	return code
}

// promised are the answers of an operation: statuses, with their media types.
func promised(op *openapi3.Operation) (all []string) {
	for status, r := range op.Responses.Map() {
		all = append(all, status)
		for mediaType := range r.Value.Content {
			all = append(all, status+" "+mediaType)
		}
	}
	slices.Sort(all)
	return all
}
