// SPDX-License-Identifier: Apache-2.0

// Package arch holds the rules of this repository that no compiler knows and tests them: who may import whom, how long a
// file may be, what every file begins with. A failure gives the rule and its reason.
//
// A file over 400 lines or a package over 2,000 is allowed if the doc.go of its package explains it, with a line
// "Size: NAME: WHY", where NAME is the file's name, or "package".
package arch
