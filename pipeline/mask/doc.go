// SPDX-License-Identifier: Apache-2.0

// Package mask finds secrets and personal data in text and replaces them, also in text that arrives in pieces.
//
// What is found is said by rules (pipeline/mask/rule): those of pipeline/mask/secrets and pipeline/mask/personal are built in, others can be
// added; names and addresses are found by pipeline/mask/names. What becomes of a value is said by pipeline/mask/action. This package runs them.
//
// # Exactness
//
// A Rewriter finds what pipeline/mask/reference finds in the whole text, however the text is cut into pieces: no decision depends on where a
// piece ends. Text is released once no value that is still to come can begin in it, and what is released is final. Engine.Mask feeds a Rewriter
// the whole text as one piece.
//
// # How it is fast
//
//   - Of each pattern only a beginning is looked for, its trigger: the texts that its matches begin with if these are known ("sk-ant-"), else as
//     many characters as it takes to say that ordinary text is meant. All triggers run together in three automata (automaton.Union), and these as one
//     (automaton.Joint), which reads every byte once. Where no trigger is, nothing else happens.
//   - Where a trigger of a closed rule was seen, its pattern is run at the places where the trigger may have begun (automaton.Exact). An answer
//     counts once nothing that follows can change it; until then the text from there on is held.
//   - The head of an open rule is read as far as the text goes. Of heads that are complete the one that ends first decides, once the automata have
//     come to its end: an earlier one cannot turn up any more. Its segment is settled, its tag is written, and its value is swallowed as it comes: neither what
//     is held nor memory grows with it, and a value that is cut off is masked too.
//
// # What is held
//
// What a Rewriter holds begins at the earliest of: a trigger that is going on, a match that is not settled, a head of an open rule that is not
// decided, what the names stage has not settled, a value found of which a part may go to another that is still to come. Where a rule says by what stands
// before that no value begins (rule.Begins), nothing is held for it. Each is bounded by the bounds of
// rules (Engine.Bounds, Engine.MostHeld). Half a rune is never released before the other half. A hold that is left out fails
// a test (TestDroppedHoldIsCaught).
//
// # Failing
//
// An error of Write or Flush is final: what is held is withheld, and nothing is released after it. A value whose action is to deny is such an error
// (DeniedError). Memory and work per byte are bounded whatever the text is (TestCostIsBounded); a text that would need more than is set aside for
// values that overlap ends with an error, not with a leak.
//
// Size: package: what is borrowed while a Rewriter works is part of its state, as the rest is: apart, each part would have to know what the others hold.
package mask
