# Why: the answer is wrong
# Upstream: none
# Drop-when: never
grep 40 demo.py
