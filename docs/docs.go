// SPDX-License-Identifier: Apache-2.0

// Package docs holds the programs of the documentation that are handed out with evidence.
package docs

import _ "embed"

// Verify is verify.py, the reader of a journal in another language.
//
//go:embed verify.py
var Verify []byte

// VerifyCase is verify_case.py, which verifies what sallyport case export wrote. It imports verify.py.
//
//go:embed verify_case.py
var VerifyCase []byte
