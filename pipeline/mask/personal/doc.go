// SPDX-License-Identifier: Apache-2.0

// Package personal has the rules for personal data that has a form: addresses of mail, phone numbers, cards, accounts, numbers of
// identity papers and of patients, dates of birth, addresses of hosts.
//
// A pattern says only what a value looks like and is kept loose: a few shapes that share the states of one automaton. What decides is
// Check, in this order, cheapest first:
//
//   - the form: groups and separators of a phone number, check digits (Luhn, ISO 7064, Verhoeff and the national ones), lengths per country;
//   - the words to the left (context.go): up to 14 in the last 96 bytes, looked up in a table of stems of a dozen languages
//     (words.go). "born", "geboren" and the key "birthDate" are one class. The nearest telling word wins, so "MRN 123, order 456" gives one
//     number away and not the other. In a table or in CSV with a heading in sight, the cell of the heading over the value is asked instead.
//
// A number that many innocent things look like (nine digits) needs such a word; one that hardly anything else looks like does not.
// Nothing to the right is asked, but for a byte or two that end a number, because what stands to the right would have to be held back.
//
// Size: package: the rules share one reading of the context and one vocabulary, and check each other's words; a third of it are tables.
//
// A Check keeps nothing and does not allocate.
package personal
