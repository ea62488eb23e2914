# SPDX-License-Identifier: Apache-2.0
"""Asks once, without patience: impatient.py PROMPT"""
import sys

from langchain_openai import ChatOpenAI

print(ChatOpenAI(model="gpt-4o-mini", max_retries=0, timeout=3).invoke(sys.argv[1]).content)
