// SPDX-License-Identifier: Apache-2.0

// Package authority is the private CA: an embedded step-ca authority whose roots can speak only for the endpoints'
// exact names.
//
// On disk (Options.Dir, 0700, one process at a time by a lock):
//
//	gen-0001/root.crt           the root, valid for two years
//	gen-0001/intermediate.crt   signed by it, same names, same end
//	gen-0001/intermediate.key   0600, PKCS #8
//	gen-0001/root.key           0600, only with Options.KeepRoot; otherwise the key is never written anywhere
//
// A generation never changes once it has its name: it is built in a hidden folder, synced and renamed, so a crash
// leaves either nothing or a hidden folder that the next start removes. Roots are additive: names that no generation
// covers, or whose generation ends within sixty days, get a new one, and the older ones stay honoured until they end.
// Within a generation no name is a sub-name of another, because each root excludes the sub-names of its names; names
// that stand in that relation get a generation each.
package authority
