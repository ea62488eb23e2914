// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

var update = flag.Bool("update", false, "write the files that are made from rules and from data of others")

// TestPhoneTable holds phone_table.go to the metadata of phonenumbers (MIT), which are those of libphonenumber (Apache-2.0).
func TestPhoneTable(t *testing.T) {
	var codes []int
	for c := range phonenumbers.GetSupportedCallingCodes() {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	var b strings.Builder
	b.WriteString(`// SPDX-License-Identifier: Apache-2.0

package personal

// callingCodes are the calling codes of countries, each with the lengths that national numbers may have there, without the code and the
// trunk prefix. Made by TestPhoneTable -update out of the metadata of libphonenumber (Apache-2.0), as they come in
// github.com/nyaruka/phonenumbers (MIT).
const callingCodes = "" +
`)
	line := ""
	for _, c := range codes {
		line += fmt.Sprint(c)
		n := uint64(1000)
		for size := 4; size <= 14; size++ {
			cc := int32(c)
			if phonenumbers.IsPossibleNumberWithReason(&phonenumbers.PhoneNumber{CountryCode: &cc, NationalNumber: &n}) == phonenumbers.IS_POSSIBLE {
				line += fmt.Sprintf(" %d", size)
			}
			n *= 10
		}
		line += ";"
		if len(line) > 110 || c == codes[len(codes)-1] {
			fmt.Fprintf(&b, "\t%q", line)
			line = ""
			if c != codes[len(codes)-1] {
				b.WriteString(" +\n")
			}
		}
	}
	b.WriteString("\n")
	golden(t, "phone_table.go", b.String())
}

// golden compares a file of the repository with what it should be, or writes it.
func golden(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the rules make of it: run go test ./pipeline/mask/personal -update", name)
	}
}
