// Package client is a client of Keyward's HTTP API: every operation of its OpenAPI
// document is a method, errors are a [*Problem], lists are iterators, and events
// are a stream that resumes where it was cut off.
//
//	c, err := client.New("https://keys.example.com", os.Getenv("KEYWARD_API_KEY"))
//	signed, err := c.SignToken(ctx, "acme", client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"alice"}`)})
//
// What the package guarantees:
//   - The credential goes to the URL that [New] was given and nowhere else: no
//     redirect is followed, and plain http only works on this machine unless
//     [AllowHTTP] says otherwise. Neither it nor a request's body is ever part
//     of an error.
//   - A temporary failure is retried a few times, and not before the server's
//     Retry-After, but only if a second request does no harm. Changes are sent with
//     an Idempotency-Key (see [Once]), so that they are made once however often they
//     are sent; signing is not retried.
//   - An answer may have 16 MiB and take 30 seconds; streams and requests made
//     [Patiently] may take longer.
//
// Methods and models are generated from the document that the server itself
// serves at /openapi.yaml. [Client.Requests] has the same operations with the
// plain *http.Response, for other forms of an answer: PEM, CSV, NDJSON.
package client
