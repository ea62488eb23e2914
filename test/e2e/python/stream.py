# SPDX-License-Identifier: Apache-2.0
"""An answer as it comes, then how long its first token took: stream.py PROMPT [MODEL]"""
import sys
import time

from langchain_openai import ChatOpenAI

prompt = sys.argv[1]
model = sys.argv[2] if len(sys.argv) > 2 else "gpt-4o-mini"

try:
    llm = ChatOpenAI(model=model)
    start, first = time.monotonic(), None
    for chunk in llm.stream(prompt):
        if chunk.content and first is None:
            first = time.monotonic()
        print(chunk.content, end="", flush=True)
    print()
    if first is not None:
        print(f"first token: {(first - start) * 1000:.1f} ms, all: {(time.monotonic() - start) * 1000:.1f} ms")
except Exception as e:
    print(flush=True)
    sys.exit(f"{type(e).__name__}: {e}")
