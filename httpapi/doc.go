// Package httpapi serves the public paths for verifiers and the admin API, as
// described by openapi.yaml. It is internal to Keyward: no compatibility promise.
//
// It guarantees that every admin operation is authorized by the table in roles.go
// and that to a tenant's credential no other tenant exists (auth.go); that a
// handler only gets requests that the document allows (validate.go, strict.go);
// that every error is answered with a problem whose code the document lists, and
// an error unknown to problem.go without any detail. Verifiers are served from
// memory (public.go), where a change is visible before its request is answered.
//
// A file has the operations of one resource: tenants.go, policies.go, keys.go,
// rotate.go, import.go, approvals.go, apikeys.go, tokens.go, batch.go, audit.go,
// events.go, webhooks.go; discovery.go, docs.go and health.go need no credential.
//
// It trusts the packages below to enforce the rules of keys and tenants, their
// errors to contain no secret, since they are logged, and the surrounding
// http.Server to have timeouts.
package httpapi

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml
