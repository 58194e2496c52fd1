package publish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

// bucket is a store with the API of Amazon S3. Credentials, region and endpoint come from
// the usual AWS variables, files and roles. An endpoint of one's own
// (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL) is asked by path, Amazon by host.
//
// Each object carries the order of its state, and is replaced only on condition that it is
// still the one that was looked at (If-Match, If-None-Match). A mark for each slug keeps
// the order where objects do not exist: one who creates an object looks at it again
// afterwards, so that no late writer brings back a tenant that was deleted meanwhile.
type bucket struct {
	name, prefix string
	timeout      time.Duration // of a request, without what its body takes at minRate

	mu   sync.Mutex
	open *connection // nil: not used yet
}

// connection is what requests are made with.
type connection struct {
	client      *http.Client
	credentials aws.CredentialsProvider
	region      string
	base        *url.URL // of the bucket
	signer      *v4.Signer
}

const (
	orderField     = "X-Amz-Meta-Keyward-Order"
	requestTimeout = 10 * time.Second
	minRate        = 256 << 10 // bytes per second
	maxAttempts    = 5         // at an object that others write, too
	maxAnswer      = 64 << 10  // bytes of a body, and of a header
)

// Target implements [Store].
func (b *bucket) Target() string { return "s3://" + b.name + "/" + b.prefix }

// StoreError is an answer of a bucket that is not a success.
type StoreError struct {
	Status int
	Code   string // as in NoSuchBucket; "" if it says none
}

func (e *StoreError) Error() string {
	text := fmt.Sprintf("the store answers %d %s", e.Status, e.Code)
	if e.Status == http.StatusNotImplemented {
		text += ": it must support conditional writes (If-Match, If-None-Match)"
	}
	return strings.TrimSpace(text)
}

// Put implements [Store].
func (b *bucket) Put(ctx context.Context, slug string, at Order, objects []Object) error {
	mark := Object{Path: path.Join(markDir, slug), ContentType: "text/plain; charset=utf-8", CacheControl: "no-store", Body: []byte(at.String() + "\n")}
	if _, err := b.putNewer(ctx, mark, at); err != nil {
		return storeError(mark.Path, err)
	}
	created := false
	for _, o := range objects {
		put := b.putNewer
		if o.Body == nil {
			put = b.removeOlder
		}
		isNew, err := put(ctx, o, at)
		if err != nil {
			return storeError(o.Path, err)
		}
		created = created || isNew
	}
	if !created {
		return nil
	}
	return b.removeIfSuperseded(ctx, mark, at, objects)
}

// removeIfSuperseded removes objects that were created after a newer state had removed
// them.
func (b *bucket) removeIfSuperseded(ctx context.Context, mark Object, at Order, objects []Object) error {
	current, _, err := b.look(ctx, mark.Path)
	if err != nil || at.Compare(current) >= 0 {
		return storeError(mark.Path, err)
	}
	for _, o := range objects {
		if _, err := b.removeOlder(ctx, o, at); err != nil && !errors.Is(err, ErrSuperseded) {
			return storeError(o.Path, err)
		}
	}
	return ErrSuperseded
}

// Check implements [Store]. It writes a probe under a condition that holds, and under one
// that does not.
func (b *bucket) Check(ctx context.Context) error {
	probe := Object{Path: path.Join(markDir, "check"), ContentType: "text/plain; charset=utf-8", Body: []byte("keyward\n")}
	if err := b.write(ctx, probe, Order{}, http.Header{}); err != nil {
		return storeError(probe.Path, err)
	}
	err := b.write(ctx, probe, Order{}, onlyNew)
	if err == nil {
		err = errUnconditional
	}
	if !isConflict(err) {
		return storeError(probe.Path, err)
	}
	_, _, err = b.request(ctx, http.MethodDelete, probe.Path, nil, nil)
	return storeError(probe.Path, err)
}

// onlyNew is the condition that there is no such object.
var onlyNew = http.Header{"If-None-Match": {"*"}}

var errUnconditional = errors.New("the store ignores If-None-Match: one document could replace another in it")

// putNewer writes an object unless the store has a newer one. created reports whether
// there was none. Errors: ErrSuperseded.
func (b *bucket) putNewer(ctx context.Context, o Object, at Order) (created bool, err error) {
	for range maxAttempts {
		current, tag, err := b.look(ctx, o.Path)
		if err != nil {
			return false, err
		}
		if tag != "" && at.Compare(current) < 0 {
			return false, ErrSuperseded
		}
		condition := http.Header{"If-Match": {tag}}
		if tag == "" {
			condition = onlyNew
		}
		if err = b.write(ctx, o, at, condition); !isConflict(err) {
			return tag == "", err
		}
	}
	return false, errBusy
}

var errBusy = errors.New("others write it all the time")

// removeOlder removes an object unless it is of a newer state.
func (b *bucket) removeOlder(ctx context.Context, o Object, at Order) (created bool, err error) {
	for range maxAttempts {
		current, tag, err := b.look(ctx, o.Path)
		if err != nil || tag == "" {
			return false, err
		}
		if at.Compare(current) < 0 {
			return false, ErrSuperseded
		}
		if _, _, err = b.request(ctx, http.MethodDelete, o.Path, nil, http.Header{"If-Match": {tag}}); !isConflict(err) {
			return false, err
		}
	}
	return false, errBusy
}

// isConflict reports whether a condition did not hold, or a concurrent write won.
func isConflict(err error) bool {
	failed := (*StoreError)(nil)
	return errors.As(err, &failed) && (failed.Status == http.StatusPreconditionFailed || failed.Status == http.StatusConflict || failed.Status == http.StatusNotFound && failed.Code == "NoSuchKey")
}

// look returns the order and the entity tag of an object; no tag: there is none. One that
// this package has not written precedes all.
func (b *bucket) look(ctx context.Context, name string) (at Order, tag string, err error) {
	header, _, err := b.request(ctx, http.MethodHead, name, nil, nil)
	failed := (*StoreError)(nil)
	if errors.As(err, &failed) && failed.Status == http.StatusNotFound {
		return Order{}, "", nil
	}
	if err != nil {
		return Order{}, "", err
	}
	if tag = header.Get("ETag"); tag == "" {
		return Order{}, "", errors.New("the store gives no ETag")
	}
	if text := header.Get(orderField); text != "" {
		at, err = parseOrder(text)
	}
	return at, tag, err
}

// write puts an object under a condition.
func (b *bucket) write(ctx context.Context, o Object, at Order, condition http.Header) error {
	header := condition.Clone()
	header.Set("Content-Type", o.ContentType)
	header.Set(orderField, at.String())
	if o.CacheControl != "" {
		header.Set("Cache-Control", o.CacheControl)
	}
	_, _, err := b.request(ctx, http.MethodPut, o.Path, o.Body, header)
	return err
}

// request makes a signed request and reads the whole answer. Errors: *StoreError for an
// answer that is no success.
func (b *bucket) request(ctx context.Context, method, name string, body []byte, header http.Header) (http.Header, []byte, error) {
	return b.requestWith(ctx, method, name, payload{int64(len(body)), sha256.Sum256(body), func() io.Reader { return bytes.NewReader(body) }}, header)
}

// requestWith is request with a body that need not be in memory.
func (b *bucket) requestWith(ctx context.Context, method, name string, body payload, header http.Header) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout+time.Duration(body.size/minRate)*time.Second)
	defer cancel()
	answer, err := b.send(ctx, method, name, body, header)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return answer.Header, text, err
}

// payload is the body of a request.
type payload struct {
	size int64
	sum  [sha256.Size]byte
	open func() io.Reader // from the beginning
}

var emptyPayload = payload{0, sha256.Sum256(nil), func() io.Reader { return http.NoBody }}

// send sends a signed request. The caller must close the body of the answer, which is a
// success. Errors: *StoreError for another answer.
func (b *bucket) send(ctx context.Context, method, name string, body payload, header http.Header) (*http.Response, error) {
	c, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(b.prefix, name).String(), http.NoBody) // #nosec G125 -- fixed names and a slug
	if err != nil {
		return nil, err
	}
	if body.size > 0 {
		r.ContentLength = body.size
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(body.open()), nil }
		r.Body, _ = r.GetBody()
	}
	for field, values := range header {
		r.Header[field] = values
	}
	if err := c.sign(ctx, r, body.sum); err != nil {
		return nil, err
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer)) // the code is a help, no more
	return nil, &StoreError{Status: answer.StatusCode, Code: errorCode(text)}
}

// withoutURL removes what a signed URL may say.
func withoutURL(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// errorCode returns the code of an error document. It is shown in logs and terminals, so
// one that is not of letters and digits, as all of S3 are, is none.
func errorCode(document []byte) string {
	var answer struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	if xml.Unmarshal(document, &answer) != nil || len(answer.Code) > 64 || strings.ContainsFunc(answer.Code, isNotAlphanumeric) {
		return ""
	}
	return answer.Code
}

func isNotAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// sign signs a request with AWS Signature Version 4.
func (c *connection) sign(ctx context.Context, r *http.Request, sum [sha256.Size]byte) error {
	credentials, err := c.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("AWS credentials: %w", err)
	}
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	return c.signer.SignHTTP(ctx, credentials, r, hash, "s3", c.region, time.Now())
}

// connect reads the configuration once.
func (b *bucket) connect(ctx context.Context) (*connection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil {
		return b.open, nil
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	region := cmp.Or(cfg.Region, "us-east-1")
	endpoint := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), aws.ToString(cfg.BaseEndpoint))
	byPath := endpoint != "" || strings.Contains(b.name, ".") // a certificate covers one label
	if endpoint == "" {
		endpoint = "https://s3." + region + ".amazonaws.com"
	}
	base, err := url.Parse(endpoint)
	if err != nil || base.Host == "" {
		return nil, errors.New("AWS_ENDPOINT_URL_S3 is not a URL")
	}
	if byPath {
		base = base.JoinPath(b.name) // #nosec G125 -- of the configuration
	} else {
		base.Host = b.name + "." + base.Host
	}
	b.open = &connection{
		client: boundedClient(cfg), credentials: cfg.Credentials, region: region, base: base,
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
	}
	return b.open, nil
}

// boundedClient returns the client of the AWS configuration, which has the certificates of
// AWS_CA_BUNDLE, with bounded headers. It follows no redirect: the signature is for one
// host, and whoever answers for the store would choose whom this process sends requests.
func boundedClient(cfg aws.Config) *http.Client {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if from, ok := cfg.HTTPClient.(interface{ GetTransport() *http.Transport }); ok {
		transport := from.GetTransport()
		transport.MaxResponseHeaderBytes = maxAnswer
		client.Transport = transport
	}
	return client
}
