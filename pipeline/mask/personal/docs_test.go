// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"fmt"
	"strings"
	"testing"
)

// TestDocs holds docs/personal-data.md to the rules.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Personal data that has a form

Made from the rules in pipeline/mask/personal by ` + "`go test ./pipeline/mask/personal -update`" + `: do not edit. Names and postal addresses have no
form and are not here.

- **Bound**: the longest match in bytes, which is the most that the rule holds back of a stream.
- **Behind words about**: the words are in the 96 bytes to the left, in English, German, French, Spanish, Italian, Dutch, Portuguese, Polish,
  Swedish, Danish, Norwegian, Finnish, Czech, Hungarian, Romanian, Turkish or Indonesian, a few of them also in Russian, Greek, Japanese,
  Chinese and Korean; as a label, a key of JSON, YAML, XML or a query, in a sentence, or in the heading of the column of a table, of CSV or of
  SQL. The nearest telling word counts. A heading that begins more than 400 bytes before the value is not seen: in a table, that is after some
  four to ten rows.
- Not found: a value that only words to its right tell apart; a mailbox with blanks in quotes (its last word is masked, with the host);
  "name at example dot com"; digits of other scripts; ages.
- Left alone on purpose: 127.0.0.0/8, 0.0.0.0/8, 224.0.0.0/3, ::1, ::, networks (10.0.0.0/8), versions, hosts under .local and .internal in
  addresses of mail, git@host.

| Rule | Type | What gives it away | Bound (bytes) |
|---|---|---|---|
`)
	for _, r := range Rules() {
		_, n, err := r.Compile()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d |\n", r.Name, r.Type, r.Why, n)
	}
	b.WriteString(`
## National numbers

Their check digits are checked: Aadhaar (Verhoeff), AHV, BSN, CNPJ, codice fiscale, CPF, DNI and NIE, fødselsnummer, Medicare (Australia), NHS
number, NIF (Portugal), NIR, PESEL, personnummer, rijksregisternummer, SIN, Steuer-ID, TFN. Of CPR (Denmark), NINO and PAN the form is checked.
The form is enough without words for codice fiscale, NIE, PAN of persons, NINO in one piece, CPF and AHV with dots, Aadhaar in fours, NIR in
groups, and personnummer with a century. Other national numbers are found by their name or by "national ID number" alone.

## Phone numbers

Behind a plus sign, or 00 and groups, the calling code must exist and the length must be in use there, by one more or less if it is in groups;
the table is made of the metadata of libphonenumber (Apache-2.0) as they come in github.com/nyaruka/phonenumbers (MIT), which the program
itself does not contain. National forms that need no words: 3-3-4 as in North America, a trunk prefix 0 with groups of 9 to 13 digits, an area
code in parentheses, Russian and Brazilian mobile forms. All else needs words about phones, a word like "office" right behind it, the end of a
letter, or a row with a name or an address of mail.
`)
	golden(t, "../../../docs/personal-data.md", b.String())
}
