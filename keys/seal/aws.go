package seal

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	tinkaws "github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// awsKey is a symmetric key of AWS KMS. Its associated data, in hex, is the
// encryption context "associatedData", which CloudTrail shows with each call.
//
// An alias is refused: whoever points it elsewhere makes all that was wrapped
// unreadable.
type awsKey struct{ arn, region string }

var awsARN = regexp.MustCompile(`^arn:aws[a-z0-9-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+$`)

func newAWS(rest string) (source, string, error) {
	arn, o, options, err := splitKMS(rest, "timeout")
	if err != nil {
		return nil, "", err
	}
	m := awsARN.FindStringSubmatch(arn)
	if m == nil {
		return nil, "", fmt.Errorf("%w: want the ARN of a key, no alias, as in aws-kms://arn:aws:kms:eu-central-1:111122223333:key/…", ErrBadURI)
	}
	return newKMS(awsKey{arn, m[1]}, o), "aws-kms://" + arn + options, nil
}

// newClient takes credentials where every AWS program does: the environment, the
// shared files, the role of the container or machine. Retries are remote's.
func (k awsKey) newClient(ctx context.Context) (tink.AEADWithContext, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(k.region),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }), config.WithAPIOptions([]func(*middleware.Stack) error{traceAWS}))
	if err != nil {
		return nil, err
	}
	return tinkaws.NewAEADWithContext(ctx, k.arn, tinkaws.WithKMS(awskms.NewFromConfig(cfg)))
}

// traceAWS adds traceparent after a request is signed, so that a proxy which continues
// the trace does not break the signature.
func traceAWS(stack *middleware.Stack) error {
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("traceparent",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if r, ok := in.Request.(*smithyhttp.Request); ok {
				injectTrace(ctx, r.Header)
			}
			return next.HandleFinalize(ctx, in)
		}), middleware.After)
}

// awsFaults are the codes of KMS and of what authenticates before it.
var awsFaults = map[string]error{
	"InvalidCiphertextException":      ErrCannotOpen,
	"IncorrectKeyException":           ErrCannotOpen,
	"NotFoundException":               ErrNoMasterKey,
	"InvalidKeyUsageException":        ErrUnfit,
	"AccessDeniedException":           ErrDenied,
	"UnrecognizedClientException":     ErrDenied,
	"InvalidSignatureException":       ErrDenied,
	"ExpiredTokenException":           ErrDenied,
	"MissingAuthenticationToken":      ErrDenied,
	"InvalidClientTokenId":            ErrDenied,
	"KMSInternalException":            ErrUnavailable,
	"KeyUnavailableException":         ErrUnavailable,
	"DependencyTimeoutException":      ErrUnavailable,
	"LimitExceededException":          ErrUnavailable,
	"CloudHsmClusterInvalidException": ErrUnavailable,
}

// awsPassing knows throttling, 5xx and broken connections.
var awsPassing = retry.IsErrorRetryables(retry.DefaultRetryables)

func (k awsKey) classifyError(err error) fault {
	var api smithy.APIError
	if !errors.As(err, &api) {
		if awsPassing.IsErrorRetryable(err) == aws.TrueTernary {
			return fault{ErrUnavailable, err.Error()}
		}
		return fault{nil, err.Error()}
	}
	f := fault{awsFaults[api.ErrorCode()], api.ErrorCode() + ": " + api.ErrorMessage()}
	if f.kind == nil && awsPassing.IsErrorRetryable(err) == aws.TrueTernary {
		f.kind = ErrUnavailable
	}
	return f
}

func (k awsKey) howToFix() (create, rotate string) {
	return "aws kms create-key --region " + k.region, "aws kms enable-key-rotation, or rotate-key-on-demand, --key-id " + k.arn
}
