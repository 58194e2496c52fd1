package httpapi

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain fails a full run in which some operation of the document was never
// asked for, or never with success.
func TestMain(m *testing.M) {
	code := m.Run()
	if full := flag.Lookup("test.run").Value.String() == "" && !testing.Short(); full && code == 0 {
		code = unexercised()
	}
	os.Exit(code)
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
