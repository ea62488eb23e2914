// SPDX-License-Identifier: Apache-2.0

// Package review reads the documents of a policy folder as documents: what is suspicious in them although they compile, and
// what differs between two folders. It knows the shape that all documents share and compares the rest as data, so that a field
// that the engine learns is compared from the first day. Load the folder with package policy first: what is wrong there is
// not looked for here.
package review
