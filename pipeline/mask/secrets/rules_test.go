// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/reference"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

var update = flag.Bool("update", false, "write docs/secrets.md")

// largest is the bound that is promised: the most bytes that a rule for secrets holds back.
const largest = 720

// TestRules: what is true of every rule.
func TestRules(t *testing.T) {
	types := []string{openAI, anthropic, awsAccess, awsSecret, gitHub, slack, stripe, gcp, jwt, privateKey, connection, generic, vendorToken}
	seen := map[string]bool{}
	for _, r := range Rules() {
		_, bound, err := r.Compile()
		if err != nil {
			t.Error(err)
		}
		switch {
		case bound > largest, r.Tail != nil && bound > 340:
			t.Errorf("%s: its bound is %d", r.Name, bound)
		case seen[r.Name]:
			t.Errorf("%s: there are two", r.Name)
		case r.Family != rule.Secret, r.Why == "", !slices.Contains(types, r.Type):
			t.Errorf("%s: family, type or reason", r.Name)
		}
		seen[r.Name] = true
	}
}

// TestPrefixes: each prefix with a body of the vendor's alphabet is found, whole; a prefix alone, and one with a placeholder, is not.
func TestPrefixes(t *testing.T) {
	for _, table := range [][]row{prefixModels, prefixCloud, prefixCode, prefixServices} {
		for _, r := range table {
			one, err := reference.New([]*rule.Rule{r.rule()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			alphabet := alphabetOf(r.body)
			for _, p := range strings.Fields(r.prefixes) {
				missed := 0
				for seed := range uint64(10) {
					body := newMaker(seed).of(max(r.min+8, 36), alphabet)
					text := "it is " + p + body + " now"
					spans := one.Find([]byte(text))
					if len(spans) != 1 || spans[0].Start != 6 || spans[0].End != len(text)-4 {
						missed++
					}
				}
				if missed > 1 { // a random body may look like words, rarely
					t.Errorf("%s: %d of 10 keys with %s are not found whole", r.name, missed, p)
				}
				for _, text := range []string{p, p + " is how they begin", p + strings.Repeat("x", 60), p + "...", "the prefix " + p + "your-key-here"} {
					if spans := one.Find([]byte(text)); len(spans) > 0 && r.how != always {
						t.Errorf("%s: finds %q in %q", r.name, text[spans[0].Start:spans[0].End], text)
					}
				}
			}
		}
	}
}

// alphabetOf is the letters and digits of a set, in a steady order.
func alphabetOf(spec string) string {
	set, out := rule.Of(spec), []byte(nil)
	for c := range 128 {
		if set.Has(byte(c)) && alnum(byte(c)) {
			out = append(out, byte(c))
		}
	}
	return string(out)
}

// TestOthers: each rule that is no prefix finds its example and leaves what is near to it.
func TestOthers(t *testing.T) {
	prefixes := map[string]bool{}
	for _, r := range prefixed() {
		prefixes[r.Name] = true
	}
	for _, r := range Rules() {
		if prefixes[r.Name] {
			continue
		}
		e, ok := examples[r.Name]
		if !ok {
			t.Errorf("%s has no example", r.Name)
			continue
		}
		one, err := reference.New([]*rule.Rule{r}, nil)
		if err != nil {
			t.Fatal(err)
		}
		missed, why := 0, ""
		for seed := range uint64(10) {
			text, values := newMaker(seed).fill(e.yes)
			if w := judge(one.Find([]byte(text)), text, values); w != "" {
				missed, why = missed+1, fmt.Sprintf("%s in %q", w, text)
			}
		}
		if missed > 1 {
			t.Errorf("%s: %d of 10 examples: %s", r.Name, missed, why)
		}
		for seed := range uint64(3) {
			text, _ := newMaker(seed).fill(e.no)
			if w := judge(one.Find([]byte(text)), text, nil); w != "" {
				t.Errorf("%s: %s in %q", r.Name, w, text)
			}
		}
	}
}

// TestChecksDoNotAllocate holds the promise of rule.Rule about Check.
func TestChecksDoNotAllocate(t *testing.T) {
	texts := map[string]string{}
	for _, table := range [][]row{prefixModels, prefixCloud, prefixCode, prefixServices} {
		for _, r := range table {
			texts[r.name] = strings.Fields(r.prefixes)[0] + newMaker(1).of(r.min+60, alphabetOf(r.body))
		}
	}
	for name, e := range examples {
		texts[name], _ = newMaker(1).fill(e.yes)
	}
	for _, r := range Rules() {
		if r.Check == nil {
			continue
		}
		re := regexp.MustCompile(r.Pattern)
		re.Longest()
		text := []byte(texts[r.Name])
		at := re.FindIndex(text)
		if at == nil {
			t.Errorf("%s: the pattern does not match its example", r.Name)
			continue
		}
		if n := testing.AllocsPerRun(20, func() { r.Check(text[max(0, at[0]-rule.Context):at[0]], text[at[0]:at[1]]) }); n > 0 {
			t.Errorf("%s: its check allocates %v times", r.Name, n)
		}
	}
}

// TestDocument holds docs/secrets.md to the rules.
func TestDocument(t *testing.T) {
	const file = "../../../docs/secrets.md"
	want := document()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/secrets.md is not what the rules say; run go test ./pipeline/mask/secrets -update")
	}
}

func document() []byte {
	var b bytes.Buffer
	rules := Rules()
	fmt.Fprintf(&b, `# Rules for secrets

<!-- Written by go test ./pipeline/mask/secrets -update. -->

The %d rules for keys, tokens and passwords that masking has built in. Each says what gives a value away, and its bound: the most bytes of text
that it can hold back on a stream before it is decided.

- **open**: the value is decided at its head; the tag is written at once, and the rest is swallowed as it comes.
- **closed**: the value is decided when it has ended.

A rule that goes by what stands to the left of a value masks the value alone. Placeholders, references to variables and identifiers of code are
left as they are.

| rule | type | what gives it away | kind | bound, bytes |
|---|---|---|---|---|
`, len(rules))
	for _, r := range rules {
		_, bound, err := r.Compile()
		if err != nil {
			panic(err)
		}
		kind := "closed"
		if r.Tail != nil {
			kind = "open"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %d |\n", r.Name, r.Type, strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`).Replace(r.Why), kind, bound)
	}
	return b.Bytes()
}
