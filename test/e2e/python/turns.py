# SPDX-License-Identifier: Apache-2.0
"""Answers one prompt per line of standard input, with one client: turns.py"""
import sys

from langchain_openai import ChatOpenAI

llm = ChatOpenAI(model="gpt-4o-mini", max_retries=0)
for prompt in sys.stdin:
    try:
        print(llm.invoke(prompt.strip()).content, flush=True)
    except Exception as e:
        print(f"{type(e).__name__}: {e}", flush=True)
