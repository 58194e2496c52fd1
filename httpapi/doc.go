// Package httpapi is Keyward's HTTP face: the public paths that verifiers read
// and the admin API, as openapi.yaml describes them.
//
// It guarantees that nobody gets past the table of roles.go, and that to a
// tenant's credential no other tenant exists (auth.go); that a request reaches
// a handler only in the form the document gives it (validate.go, decode.go);
// that every error leaves as a problem whose code the document lists
// (problem.go), and that no answer says more than its caller may know: what is
// not in the table of problem.go is a bare "internal". What verifiers ask for
// is answered from memory (public.go), and a change is seen there before the
// one who made it has the answer.
//
// It trusts the packages below to decide what may happen, and their errors to
// carry no secret, since those errors are logged; and the http.Server around it
// to have timeouts.
package httpapi

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml
