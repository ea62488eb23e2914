# SPDX-License-Identifier: Apache-2.0
"""Asks one question after the other over kept connections, nothing twice; prints a line for each answer: asks.py plain|stream PROMPT..."""
import sys

from langchain_openai import ChatOpenAI

llm = ChatOpenAI(model="gpt-4o-mini", max_retries=0, timeout=30)
for prompt in sys.argv[2:]:
    said = []
    try:
        if sys.argv[1] == "plain":
            said.append(llm.invoke(prompt).content)
        else:
            for c in llm.stream(prompt):
                said.append(c.content)
        print("".join(said), flush=True)
    except Exception as e:
        print(f"{type(e).__name__}: {e}; so far: {''.join(said)}".replace("\n", " "), flush=True)
