// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names/token"
)

func unpack(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheModelIsWhatTrainingGives(t *testing.T) {
	o := defaults()
	lists, l, err := train(o)
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile("../../../pipeline/mask/names/model.gz")
	if err != nil {
		t.Fatal(err)
	}
	if want := l.weights(o.lean).Append(lists.Append(nil)); !bytes.Equal(unpack(t, is), want) {
		t.Fatal("pipeline/mask/names/model.gz is not what training gives: run go run ./test/masking/train -out pipeline/mask/names/model.gz")
	}
	if len(is) > 5<<20 {
		t.Errorf("the model has %d bytes, at most 5 MiB are wanted", len(is))
	}
}

// Names of the development corpus of others, which are not under an open licence, must not be learned from: texts of that source are
// templates.
func TestTemplatesHaveNoOnesName(t *testing.T) {
	c, err := readCorpus()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.texts {
		if d.group == "presidio" || d.group == "own-a" {
			t.Errorf("a text of %s is learned from as it is: %.80q", d.group, d.text)
		}
	}
	for _, x := range c.templates {
		if strings.Count(x.text, "{") == 0 && x.group == "presidio" && strings.Contains(x.text, "@") {
			t.Errorf("no template: %.80q", x.text)
		}
	}
}

func TestFillingsSayWhatTheyHaveFilledIn(t *testing.T) {
	s, err := readSources()
	if err != nil {
		t.Fatal(err)
	}
	c, err := readCorpus()
	if err != nil {
		t.Fatal(err)
	}
	s.use(all, all)
	if len(s.locales) < 40 {
		t.Errorf("names of %d locales, want 40 and more", len(s.locales))
	}
	count := [token.Tags]int{}
	for _, d := range c.epoch(s, 5, 1, func(g, _ string) bool { return g != "prose" && g != "cloud" }) {
		at := 0
		for _, x := range d.spans {
			if x.start < at || x.end <= x.start || x.end > len(d.text) {
				t.Fatalf("bad span %v in %q", x, d.text)
			}
			at = x.end
			count[x.tag]++
		}
	}
	if count[token.Person] < 500 || count[token.Address] < 100 {
		t.Errorf("%d names and %d addresses were filled in", count[token.Person], count[token.Address])
	}
}

func TestExp(t *testing.T) {
	for x := 0.0; x > -40; x -= 0.37 {
		if got, want := exp(x), math.Exp(x); math.Abs(got-want) > 1e-12*want {
			t.Errorf("exp(%g) = %g, want %g", x, got, want)
		}
	}
	if exp(-1000) != 0 {
		t.Error("exp(-1000) is not 0")
	}
}
