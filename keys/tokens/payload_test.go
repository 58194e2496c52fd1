package tokens

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

func utf16LE(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

// What some verifier reads as a token is one: it ends, and says who issued it.
func TestNoTokenWithoutEnd(t *testing.T) {
	spellings := []string{}
	for _, name := range registered {
		spellings = append(spellings, name, strings.ToUpper(name), `\u00`+hex(name[0])+name[1:], `\x`+hex(name[0])+name[1:], name[:1]+`\u{`+hex(name[1])+`}`+name[2:])
		if name != "nbf" { // \n is an escape of its own
			spellings = append(spellings, `\`+name)
		}
	}
	for _, member := range spellings {
		object := `{"` + member + `":"https://kw.example/t/victim","role":"admin"}`
		for _, payload := range []string{
			object, " " + object, "\x0b" + object, "\x0c" + object, "\u00a0" + object, "\xa0" + object, "\ufeff" + object, "\u2028" + object, "\u200b" + object, "\u3000" + object, "\x00" + object,
			"/**/" + object, "/* { */ // x\n" + object, "# x\n" + object, "//{\n\t" + object, object + "x", object + object, object + "\x00", object[:len(object)-1] + ",}", object[:len(object)-1],
			strings.ReplaceAll(object, `"`, `'`), `{` + member + `:1}`, `{"` + member + `":NaN}`, `{"a":1,"` + member + `":1,"a":2}`, `{"a":"\x01","` + member + `":1}`,
			`{"a":/**/1,"` + member + `":1}`, "{\"a\":\"\xff\",\"" + member + "\":1}", string(utf16LE(object)), "\xff\xfe" + string(utf16LE(object)),
			"{\v\"" + member + "\":1}", `{"` + member + `":{"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`,
		} {
			for _, typ := range []string{"", "JWT", "jwt", "application/at+jwt", "statement+jws", "x"} {
				if at, err := rules().CheckPayload([]byte(payload), typ, Form{}); err == nil {
					t.Errorf("%q under %q is signed, until %v", payload, typ, at)
				}
				if at, err := rules().CheckPayload([]byte(base64.RawURLEncoding.EncodeToString([]byte(payload))), typ, Form{Unencoded: true}); err == nil {
					t.Errorf("%q under %q is signed unencoded, until %v", payload, typ, at)
				}
			}
		}
	}
}

func hex(b byte) string { return string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15]) }

func TestPayloadsThatAreNoTokens(t *testing.T) {
	for payload, typ := range map[string]string{
		`{"document":1}`: "statement+jws", `{}`: "x", `{'a':1}`: "x", `{"a":1,"a":2}`: "x", "": "", "hello {iss}": "", `[{"iss":"x"}]`: "", `"iss"`: "", "null": "JWT", "# Title\n\niss": "",
		"Zm9v": "", "<a>{exp}</a>": "JWT", "\x89PNG\r\n\x1a\n{exp": "",
	} {
		if at, err := rules().CheckPayload([]byte(payload), typ, Form{}); err != nil || at != nil {
			t.Errorf("%q under %q: %v, %v", payload, typ, at, err)
		}
	}
	for i := range 100_000 { // digests
		digest := sha256.Sum256(binary.AppendUvarint(nil, uint64(i)))
		if at, err := rules().CheckPayload(digest[:], "", Form{}); err != nil || at != nil {
			t.Fatalf("%x: %v", digest, err)
		}
	}
	for _, payload := range []string{`{}`, `{"a":1}`, `{'a':1}`, "{a", "/**/{}", "\u00a0{}", "\ufeff{\"\xff\":1,\"role\":\"admin\"}", "\v{\"role\":\"\xff\"} "} {
		for _, typ := range []string{"", "JWT", "at+jwt", "Application/JWT"} {
			if _, err := rules().CheckPayload([]byte(payload), typ, Form{}); !errors.Is(err, ErrPolicy) {
				t.Errorf("%q under %q: %v", payload, typ, err)
			}
		}
	}
	good := []byte(`{"iss":"` + rules().Issuer + `","exp":1800000060}`)
	for _, f := range []Form{{}, {Detached: true}, {Detached: true, Unencoded: true}} {
		if at, err := rules().CheckPayload(good, "JWT", f); err != nil || at == nil || at.Unix() != 1800000060 {
			t.Errorf("%+v: %v, %v", f, at, err)
		}
	}
	if at, err := rules().CheckPayload([]byte(base64.RawURLEncoding.EncodeToString(good)), "JWT", Form{Unencoded: true}); err != nil || at == nil {
		t.Errorf("unencoded: %v, %v: the evidence would not know of it", at, err)
	}
}
