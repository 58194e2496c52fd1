// Package httpapi is Keyward's HTTP face: the public paths that verifiers read
// and the admin API, as openapi.yaml describes them.
//
// It guarantees that a request reaches a handler only in the form the document
// gives it (validate.go, decode.go), that every error leaves as a problem whose
// code the document lists (problem.go), and that no answer says more than its
// caller may know: what is not in the table of problem.go is a bare "internal".
// It trusts the packages below to decide what may happen, and their errors to
// carry no secret, since those errors are logged.
package httpapi
