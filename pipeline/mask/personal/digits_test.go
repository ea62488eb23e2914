// SPDX-License-Identifier: Apache-2.0

package personal

import "testing"

// TestCheckDigits runs each check over published examples, which it must accept, and over the same with one digit changed.
func TestCheckDigits(t *testing.T) {
	num := func(f func(d []byte) bool) func(string) bool {
		return func(s string) bool {
			var buf [20]byte
			d, _ := digits(buf[:0], []byte(s))
			return f(d)
		}
	}
	is := func(class bits) func(string) bool {
		return num(func(d []byte) bool { w, _ := digitsOnly(d, d); return w&class != 0 })
	}
	text := func(f func(t []byte) bool) func(string) bool { return func(s string) bool { return f([]byte(s)) } }
	for _, c := range []struct {
		name   string
		check  func(string) bool
		good   []string
		change int // offset of the character to change
	}{
		{"Luhn", num(luhn), []string{"79927398713", "4111111111111111", "378282246310005"}, 3},
		{"Verhoeff", num(verhoeff), []string{"2363", "234123412346"}, 1},
		{"ISO 7064 MOD 11,10", num(iso11), []string{"86095742719", "47036892816"}, 3},
		{"NHS number", is(nhsWord), []string{"9434765919", "4505577104"}, 3},
		{"Medicare", is(medicareAU), []string{"2123456701"}, 3},
		{"PESEL", is(peselPL), []string{"44051401359", "02070803628"}, 3},
		{"CPF", num(cpf), []string{"52998224725", "11144477735"}, 3},
		{"CNPJ", is(cpfWord), []string{"11222333000181"}, 3},
		{"SIN", is(sinCA), []string{"046454286"}, 3},
		{"TFN", is(tfnAU), []string{"123456782", "876543210"}, 3},
		{"BSN", is(bsnNL), []string{"111222333", "123456782"}, 3},
		{"NIF", is(nifPT), []string{"123456789"}, 3},
		{"personnummer", is(personSE), []string{"8112189876"}, 3},
		{"fødselsnummer", is(personNO), []string{"15076500565"}, 3},
		{"rijksregisternummer", num(rijks), []string{"85073003328"}, 3},
		{"AHV number", num(ean13), []string{"7569217076985"}, 5},
		{"NIR", is(nirFR), []string{"184127645108946"}, 3},
		{"DNI", text(dni), []string{"12345678Z", "00000001R", "X1234567L", "Y1234567X", "Z1234567R"}, 3},
		{"codice fiscale", text(fiscal), []string{"RSSMRA85T10A562S", "MRTMTT91D08F205J"}, 1},
		{"NINO", text(nino), []string{"AB123456C", "JG103759A"}, 0},
	} {
		for _, s := range c.good {
			if !c.check(s) {
				t.Errorf("%s: %s is refused", c.name, s)
			}
			bad := []byte(s)
			switch b := bad[c.change]; {
			case c.name == "NINO":
				bad[0] = 'Q'
			case b == '9' || b == 'Z':
				bad[c.change] = b - 1
			default:
				bad[c.change] = b + 1
			}
			if c.check(string(bad)) {
				t.Errorf("%s: %s is accepted", c.name, bad)
			}
		}
	}
}

// TestFold holds the table of letters: each to the letter that it is made of.
func TestFold(t *testing.T) {
	for _, c := range []struct {
		in, want string
		foreign  bool
	}{
		{"Führerschein", "fuhrerschein", false}, {"NÉE", "nee", false}, {"Grüßen", "grusen", false}, {"født", "fodt", false}, {"długość", "dlugosc", false}, {"doğum", "dogum", false}, {"işıl", "isil", false},
		{"źdźbło", "zdzblo", false}, {"čeština", "cestina", false}, {"søknad", "soknad", false}, {"ñandú", "nandu", false}, {"Ångström", "angstrom", false}, {"œuvre", "ouvre", false}, {"n°", "n", false}, {"тел", "", true},
	} {
		var buf [longestWord]byte
		got, foreign := fold(buf[:0], []byte(c.in))
		if string(got) != c.want || foreign != c.foreign {
			t.Errorf("%s: got %s, %v", c.in, got, foreign)
		}
	}
}

// TestContext holds what the words to the left say.
func TestContext(t *testing.T) {
	l := newLexicon()
	for _, c := range []struct {
		name, left string
		want       bits
		far        int
		found      bool
	}{
		{"a key", `"dateOfBirth": "`, birthWord, 0, true},
		{"an escape before the word", `\nDOB: `, birthWord, 0, true},
		{"initials", "D.O.B.: ", birthWord, 0, true},
		{"words in between", "born in the old town of Leeds on ", birthWord, 3, true},
		{"too many", "born one two three four five ", birthWord, 3, false},
		{"an empty line", "DOB\n\nmember ", birthWord, 3, false},
		{"another sentence", "He was born there. Then ", birthWord, 3, false},
		{"a number in between", "DOB 1980 and ", birthWord, 3, false},
		{"the key of another value", `"dob": null, "seen": "`, birthWord, 3, false},
		{"a key that says nothing", `"key": "dob", "value": "`, birthWord, 3, true},
		{"the nearest tells", "DOB and MRN ", birthWord, 3, false},
	} {
		var a around
		l.look(&a, []byte(c.left))
		if got := a.near(c.want, telling&^c.want, c.far, false) >= 0; got != c.found {
			t.Errorf("%s: %q: found %v", c.name, c.left, got)
		}
	}
}
