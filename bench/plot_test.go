package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// aMillion is what docs/scaling.md says was measured with a million tenants:
// too long a run to repeat for every picture.
var aMillion = map[string][]Point{
	"worker, nothing due":      {{1e4, 606}, {1e6, 606}},
	"JWKS, not in memory":      {{1e4, 357}, {1e6, 552}},
	"token, nothing in memory": {{1e4, 1175}, {1e6, 1524}},
	"create a tenant":          {{1e4, 4143}, {1e6, 4154}},
	"rotate":                   {{1e4, 8768}, {1e6, 9995}},
	"revoke":                   {{1e4, 9801}, {1e6, 10844}},
	"page of tenants":          {{1e4, 754}, {1e6, 757}},
	"page of a history":        {{1e4, 1359}, {1e6, 1503}},
}

func plot(b *testing.B, file string, all []*population) {
	p := Plot{Title: "Median cost by number of tenants (dashed: measured earlier, another load)"}
	for _, o := range operations {
		l := Line{Name: o.name, Earlier: aMillion[o.name]}
		for _, q := range all {
			l.Points = append(l.Points, Point{float64(q.tenants), float64(q.median(o.name).Nanoseconds()) / 1000})
		}
		p.Lines = append(p.Lines, l)
	}
	var svg bytes.Buffer
	if err := p.WriteSVG(&svg); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, svg.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
}

func TestPlotIsAPictureOfItsPoints(t *testing.T) {
	p := Plot{Title: "a < b & c", Lines: []Line{
		{Name: "x", Points: []Point{{1000, 10}, {100_000, 1000}}},
		{Name: "y", Points: []Point{{1000, 10}}, Earlier: []Point{{1000, 20}, {1_000_000, 30}}},
	}}
	var svg strings.Builder
	if err := p.WriteSVG(&svg); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, is := token.(xml.StartElement); is {
			seen[start.Name.Local]++
		}
	}
	if seen["circle"] != 5 || seen["polyline"] != 3 {
		t.Errorf("%v", seen)
	}
	// Three decades wide and two high: the second point is two thirds right, on top.
	x, y := p.axes().at(Point{100_000, 1000})
	if wantX := plotLeft + (plotWidth-plotLeft-plotRight)*2/3; x != wantX || y != plotTop {
		t.Errorf("(%g, %g), want (%g, %g)", x, y, wantX, plotTop)
	}
}
