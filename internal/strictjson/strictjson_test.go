package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/keyward/keyward/internal/strictjson"
)

func nested(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

func TestFaults(t *testing.T) {
	for text, want := range map[string]error{
		`{}`: nil, ` {"a" : [1, {"b":null}] } `: nil, `[]`: nil, `"x"`: nil, `1e9`: nil,
		`{"a":"\ud800"}`:                            nil,
		`{"a":{"x":1},"x":1}`:                       nil,
		nested(strictjson.MaxDepth):                 nil,
		`"` + nested(strictjson.MaxDepth+1) + `"`:   nil,
		nested(strictjson.MaxDepth + 1):             strictjson.ErrDepth,
		`{"a":` + nested(strictjson.MaxDepth) + `}`: strictjson.ErrDepth,
		`{"a":1,"a":1}`:                             strictjson.ErrDuplicate,
		`{"exp":1,"\u0065xp":2}`:                    strictjson.ErrDuplicate,
		`[{"a":{"b":[{"c":1,"c":2}]}}]`:             strictjson.ErrDuplicate,
		`{"\ud800":1,"\udfff":2}`:                   strictjson.ErrDuplicate,
		"{\"a\":\"\xff\"}":                          strictjson.ErrUTF8,
		``:                                          strictjson.ErrSyntax,
		`{`:                                         strictjson.ErrSyntax,
		`{} {}`:                                     strictjson.ErrSyntax,
		`{"a":01}`:                                  strictjson.ErrSyntax,
		`{"a":1,}`:                                  strictjson.ErrSyntax,
		"\ufeff{}":                                  strictjson.ErrSyntax,
		strings.Repeat(`[`, 20_000):                 strictjson.ErrDepth,
		strings.Repeat(`[`, strictjson.MaxDepth-1) + `x`: strictjson.ErrSyntax,
	} {
		if err := strictjson.Check([]byte(text)); err != want {
			t.Errorf("Check(%.60q) = %v, want %v", text, err, want)
		}
		object := want
		if want == nil && !strings.HasPrefix(strings.TrimSpace(text), "{") {
			object = strictjson.ErrNotObject
		}
		if _, err := strictjson.ParseObject([]byte(text)); err != object {
			t.Errorf("ParseObject(%.60q) = %v, want %v", text, err, object)
		}
	}
}

// Members keep their bytes, and one that is appended to does not overwrite the
// next.
func TestMembersKeepTheirBytes(t *testing.T) {
	raw := []byte(` { "n" : 12345678901234567890 ,"s":"\u003c\/", "o": {"a": [1 ,2]}, "":null}`)
	members, err := strictjson.ParseObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"n": "12345678901234567890", "s": `"\u003c\/"`, "o": `{"a": [1 ,2]}`, "": "null"} {
		if string(members[name]) != want {
			t.Errorf("%q = %s, want %s", name, members[name], want)
		}
	}
	_ = append(members["n"], "overwritten"...)
	if string(members["s"]) != `"\u003c\/"` || len(members) != 4 {
		t.Errorf("%d members, s = %s", len(members), members["s"])
	}
}

// A value that is accepted is valid JSON to package encoding/json, and its
// members are the same.
func FuzzParseObject(f *testing.F) {
	for _, text := range []string{`{"a":1}`, `{"a":{"b":[]},"c":"\ud800"}`, `{"a":1,"a":2}`, `{"a" : tru}`, `[1]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		members, err := strictjson.ParseObject(raw)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil || len(want) != len(members) {
			t.Fatalf("%q: %d members, encoding/json has %d, %v", raw, len(members), len(want), err)
		}
		for name, value := range members {
			if string(want[name]) != string(value) {
				t.Fatalf("%q: %q is %q, encoding/json has %q", raw, name, value, want[name])
			}
		}
	})
}
