// Package bench measures package jwks against the libraries that Go services
// verify tokens with otherwise, and against bare cryptography: one run, one
// machine, the same tokens.
//
//	go test -bench Ratios           # prints the table of ratios
//	go test -bench . -benchmem
//
// It is a module of its own, so that users of the library inherit none of
// those.
package bench
