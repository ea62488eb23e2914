// SPDX-License-Identifier: Apache-2.0

// Command sallyport manages sallyportd: it shows what the daemon does and recorded, explains refusals, tries policies, and
// starts programs in a mount namespace in which they trust the private CA. `sallyport help` lists its verbs.
//
// Each verb is one file. What needs the daemon goes over its unix socket (agent/adminapi); mask, policy check and journal
// verify work without one.
//
// Size: package: it is one file per verb and what they print; verbs share nothing but the socket and the table.
//
// Exit status: 0 done, 1 it did not work or the answer is no, 2 wrong usage. Errors are one line on standard error.
//
// Size: package: it is a flat list of verbs; each is a file that parses flags, asks, and prints, and they share nothing but app.go.
package main
