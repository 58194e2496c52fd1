package httpapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// OpenAPI is openapi.yaml, as it is served.
//
//go:embed openapi.yaml
var OpenAPI []byte

// handDecoded lists the operations whose bodies are not validated against the
// document, because that would cost more than the signature. Their handlers
// decode strictly by type.
var handDecoded = map[string]bool{
	"signToken": true, "signTokens": true, "signPayload": true, "verifyToken": true,
}

// validator validates requests against the document. It uses echo's routing, so
// that no second router can disagree.
type validator struct {
	operations  map[string]*operation // by method and echo path
	parameters  *openapi3filter.Options
	bodyOptions []openapi3.SchemaValidationOption
}

type operation struct {
	parameters openapi3.Parameters // of the path and the operation
	body       *openapi3.RequestBody
}

// newValidator returns a validator for the admin operations of a document.
func newValidator(doc *openapi3.T) *validator {
	v := &validator{
		operations: map[string]*operation{},
		parameters: &openapi3filter.Options{
			SkipSettingDefaults: true, MultiError: true, SchemaValidationOptions: formatValidators(),
		},
		bodyOptions: append(formatValidators(), openapi3.VisitAsRequest(), openapi3.MultiErrors()),
	}
	for path, item := range doc.Paths.Map() {
		if strings.HasPrefix(path, "/v1/") {
			v.addPath(path, item)
		}
	}
	return v
}

func (v *validator) addPath(path string, item *openapi3.PathItem) {
	path = routePath(path)
	for method, op := range item.Operations() {
		if handDecoded[op.OperationID] {
			continue
		}
		o := &operation{parameters: append(append(openapi3.Parameters{}, item.Parameters...), op.Parameters...)}
		if op.RequestBody != nil {
			o.body = op.RequestBody.Value
		}
		v.operations[method+" "+path] = o
	}
}

// validateRequest refuses requests that the document does not allow. It must
// run after authorization, since its messages are only for authorized callers.
func (v *validator) validateRequest(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		op := v.operations[c.Request().Method+" "+c.Path()]
		if op == nil {
			return refuseQuery(next)(c)
		}
		faults, err := v.parameterFaults(c, op)
		if err != nil {
			return err
		}
		body, err := v.bodyFaults(c.Request(), op.body)
		if err != nil {
			return err
		}
		if faults = append(faults, body...); len(faults) > 0 {
			return newProblem(ProblemCodeInvalidRequest, "", faults[:min(len(faults), maxFaults)]...)
		}
		return next(c)
	}
}

// refuseQuery refuses any query parameter. It is all the validation of the
// operations in handDecoded, none of which has parameters.
func refuseQuery(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().URL.RawQuery == "" {
			return next(c)
		}
		faults := queryFaults(c.QueryParams(), nil)
		return newProblem(ProblemCodeInvalidRequest, "", faults[:min(len(faults), maxFaults)]...)
	}
}

func (v *validator) parameterFaults(c echo.Context, op *operation) ([]FieldError, error) {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, newProblem(ProblemCodeInvalidRequest, "The query string is not valid.")
	}
	input := &openapi3filter.RequestValidationInput{
		Request: c.Request(), QueryParams: query, PathParams: pathParams(c), Options: v.parameters,
	}
	faults := queryFaults(query, op.parameters)
	for _, ref := range op.parameters {
		p := ref.Value
		err := openapi3filter.ValidateParameter(c.Request().Context(), input, p)
		switch {
		case err == nil:
		case p.In == openapi3.ParameterInPath && missingResource(p.Name) != nil:
			return nil, missingResource(p.Name)
		default:
			faults = append(faults, parameterFault(p, err))
		}
	}
	return faults, nil
}

// missingResource returns the error for a path parameter that cannot name any
// resource; nil for other parameters.
func missingResource(name string) error {
	switch name {
	case "tenant":
		return tenant.ErrNotFound
	case "kid":
		return newProblem(ProblemCodeKeyNotFound, "")
	case "id", "delivery":
		return newProblem(ProblemCodeNotFound, "")
	default:
		return nil
	}
}

func pathParams(c echo.Context) map[string]string {
	params := make(map[string]string, len(c.ParamNames()))
	for i, name := range c.ParamNames() {
		params[name] = c.ParamValues()[i]
	}
	return params
}

// bodyFaults reads the body, validates it and restores it for the handler.
func (v *validator) bodyFaults(r *http.Request, want *openapi3.RequestBody) ([]FieldError, error) {
	if want == nil {
		return nil, refuseBody(r)
	}
	body, err := readBody(r)
	switch {
	case err != nil:
		return nil, err
	case len(body) == 0 && want.Required:
		return nil, errNoBody()
	case len(body) == 0:
		return nil, nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	value, err := parseBody(body)
	if err != nil {
		return nil, err
	}
	schema := want.Content.Get(echo.MIMEApplicationJSON).Schema.Value
	return schemaFaults(schema.VisitJSON(value, v.bodyOptions...)), nil
}

// refuseBody refuses a body by its first byte, however long it is.
func refuseBody(r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 {
		return newProblem(ProblemCodeInvalidRequest, "This request takes no body.")
	}
	return nil
}

// parseBody decodes a body into the types that openapi3 validates.
func parseBody(body []byte) (any, error) {
	if err := checkJSON(body, nil); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var value any
	return value, dec.Decode(&value)
}
