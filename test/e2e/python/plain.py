# SPDX-License-Identifier: Apache-2.0
"""One question, one answer: plain.py PROMPT [MODEL]"""
import sys

from langchain_openai import ChatOpenAI

prompt = sys.argv[1]
model = sys.argv[2] if len(sys.argv) > 2 else "gpt-4o-mini"

try:
    print(ChatOpenAI(model=model).invoke(prompt).content)
except Exception as e:
    sys.exit(f"{type(e).__name__}: {e}")
