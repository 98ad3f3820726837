"""An OpenAI-compatible server on loopback, to rehearse a run: its answers are functions of the
questions, and it fails, refuses and dawdles as much as it is told to.

It listens on 127.0.0.1 alone, sends nothing anywhere, and never reads, keeps or writes a key.
"""
