"""An OpenAI-compatible server on loopback, to test a run.

Its answers are functions of the requests, and it fails, refuses and slows down as configured.

It listens on 127.0.0.1 alone, sends nothing anywhere, and never reads, keeps or writes a key.
"""
