// SPDX-License-Identifier: Apache-2.0

// Package fold reads a text as a model or a shell might read it: letters that only look like others become those, what
// cannot be seen is taken out, base64, hexadecimal and percent encodings are undone. The readings stand beside the text, they
// do not replace it. Package fold is pure, its cost is linear in the text, and a text of plain ASCII without anything encoded
// costs next to nothing.
package fold
