// SPDX-License-Identifier: Apache-2.0
// Answers the questions of its arguments: what esbuild makes a bundle of.
import { ChatOpenAI } from "@langchain/openai";

const llm = new ChatOpenAI({ model: "gpt-4o-mini" });
for (const prompt of process.argv.slice(2)) {
  console.log((await llm.invoke(prompt)).content);
}
