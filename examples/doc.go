// Package examples shows services that verify tokens with package jwks: with
// chi, Gin and Fiber. Each file stands alone and is tested. It is a module of
// its own, so that users of the library inherit no router. Copy from it and do
// not import it. Internal to Keyward: no compatibility promise.
package examples
