package callstack

import (
	"strings"
	"testing"
)

func TestOfPanicNamesTheFunctionWithoutArguments(t *testing.T) {
	stack := panicWith("argument-that-must-not-show")
	if first, _, _ := strings.Cut(stack, " "); !strings.Contains(first, "callstack.fail:") {
		t.Errorf("the first frame is %s, want the function that panicked", first)
	}
	if strings.Contains(stack, "argument") || strings.Contains(stack, "0x") {
		t.Errorf("the stack shows arguments: %s", stack)
	}
}

func panicWith(s string) (stack string) {
	defer func() {
		if recover() != nil {
			stack = OfPanic()
		}
	}()
	fail(s)
	return ""
}

//go:noinline
func fail(s string) { panic(s) }
