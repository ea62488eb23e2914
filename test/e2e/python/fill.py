# SPDX-License-Identifier: Apache-2.0
"""Asks with long prompts, up to COUNT times or until one is refused; prints what was answered: fill.py COUNT KIB"""
import os
import sys

from langchain_openai import ChatOpenAI

count, size = int(sys.argv[1]), int(sys.argv[2])
llm = ChatOpenAI(model="gpt-4o-mini", max_retries=0, timeout=30)
for n in range(count):
    try:
        print(llm.invoke([("system", os.urandom(size * 512).hex()), ("user", f"say: {n}")]).content, flush=True)
    except Exception as e:
        print(f"{type(e).__name__}: {e}")
        break
