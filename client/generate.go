package client

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config oapi-codegen.yaml ../httpapi/openapi.yaml

//go:generate sed -i "s/operationPath := fmt.Sprintf(/operationPath := formatPath(/" client.gen.go
