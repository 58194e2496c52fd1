// Package interop holds tests alone: JOSE clients that nobody here wrote verify
// what the keyward program signs, over HTTPS, with the caches they have by
// default. README.md says what each of them does.
//
// The tests build the program from the directory above, run it as `keyward
// dev` in a directory of their own, and know it by its HTTP API alone: nothing
// is imported from it. The clients are a module of their own, so that users of
// the library inherit none. readers/ has one example for each, in many languages,
// which the tests fill in and run; readers/drive/ has a program for each language
// that hands tokens to an example. Those of Node.js are driven through one process,
// node/clients.mjs, and left out where there is no Node.js. sources/make.mjs makes
// systems that keys move in from.
//
// Internal to Keyward: no compatibility promise.
package interop
