// SPDX-License-Identifier: Apache-2.0

package action

import "testing"

// BenchmarkValue is what becomes of one value once it is found: a plan, the list of values that are allowed, and a pseudonym.
func BenchmarkValue(b *testing.B) {
	t, err := New(Settings{Rows: []Row{{Types: []string{"PHONE"}, Roles: []string{"a*"}, Action: Allow}, {Types: []string{Personal}, Action: Pseudonym}}, Allow: []string{"*@example.com", "10.0.0.0/8"}})
	if err != nil {
		b.Fatal(err)
	}
	keys, value, roles := NewKeys([]byte("0123456789abcdef0123456789abcdef")), []byte("ada.lovelace@example.org"), []string{"reader"}
	var v Value
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		a := t.Plan(Text, roles).Of(mail)
		if t.Allowed(mail, value) {
			b.Fatal("allowed")
		}
		v.Start(keys, a, mail.Type, "ses_1")
		v.Write(value)
		dst, _ = v.End(dst[:0])
	}
}
