package keyfile

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"regexp"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns the text of a key file as UTF-8 without a byte order mark. Windows tools
// write UTF-16 or a mark; UTF-16 without a mark is told by the zero byte beside its
// first character, which is ASCII in every key file.
func Text(file []byte) []byte {
	if text, marked := bytes.CutPrefix(file, []byte("\xef\xbb\xbf")); marked {
		return text
	}
	if len(file) < 2 || len(file)%2 != 0 {
		return file
	}
	var order binary.ByteOrder
	switch {
	case file[0] == 0xff && file[1] == 0xfe, file[0] != 0 && file[1] == 0:
		order = binary.LittleEndian
	case file[0] == 0xfe && file[1] == 0xff, file[0] == 0 && file[1] != 0:
		order = binary.BigEndian
	default:
		return file
	}
	units := make([]uint16, len(file)/2)
	for i := range units {
		units[i] = order.Uint16(file[2*i:])
	}
	defer clear(units)
	runes := utf16.Decode(units)
	defer clear(runes)
	if runes[0] == '\ufeff' {
		runes = runes[1:]
	}
	text := make([]byte, 0, len(runes))
	for _, r := range runes {
		text = append(text, string(r)...)
	}
	return text
}

// pemBlock matches a PEM block without headers, whatever white space is in it, also
// as it is escaped in JSON and environment variables.
var pemBlock = regexp.MustCompile(`-----BEGIN ([A-Z0-9 ]+)-----((?:[A-Za-z0-9+/=\s\p{Z}\x{200b}\x{feff}]|\\[nrt/])*)-----END ([A-Z0-9 ]+)-----`)

// Reflow writes PEM blocks in the lines of RFC 7468 section 2: some are indented, as in
// YAML, or on one line, as in environment variables.
func Reflow(text []byte) []byte {
	return pemBlock.ReplaceAllFunc(text, func(block []byte) []byte {
		parts := pemBlock.FindSubmatch(block)
		out := append(append([]byte("\n-----BEGIN "), parts[1]...), "-----\n"...)
		n, escaped := 0, false
		for _, c := range parts[2] {
			space := c >= utf8.RuneSelf || c == '\\' || escaped && c != '/' || bytes.IndexByte([]byte(" \t\r\n\f\v"), c) >= 0
			if escaped = c == '\\'; space {
				continue
			}
			if out = append(out, c); n%64 == 63 {
				out = append(out, '\n')
			}
			n++
		}
		return append(append(append(out, "\n-----END "...), parts[3]...), "-----\n"...)
	})
}

// pemBegin matches the first line of a PEM block.
var pemBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----`)

// Blocks returns the PEM blocks of a text, however it is laid out. whole is false if
// one of them cannot be read; encrypted, if that is one of those of RFC 1421, whose
// header depends on lines.
func Blocks(text []byte) (blocks []*pem.Block, whole, encrypted bool) {
	text = Reflow(text)
	begun := len(pemBegin.FindAllIndex(text, -1))
	encrypted = bytes.Contains(text, []byte("4,ENCRYPTED"))
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	return blocks, len(blocks) >= begun, encrypted
}
