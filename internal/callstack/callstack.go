// Package callstack names the functions of a panic without their arguments: a
// traceback of the runtime prints arguments too, and leftovers of private keys
// may be among them.
//
// Internal to Keyward: no compatibility promise.
package callstack

import (
	"fmt"
	"runtime"
	"strings"
)

// OfPanic returns the call stack of the panic being recovered, as
// "function:line", innermost first, at most 32 of them. Call it in the deferred
// function itself.
func OfPanic() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)]) // skips runtime.Callers, OfPanic, the deferred function and gopanic
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return strings.Join(at, " ")
		}
	}
}
