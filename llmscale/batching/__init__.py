"""The bridges from rows to calls, the only places where an `Answers` becomes a `Sends`.

`one_by_one`: a call for each row, as chat models take them. `batcher`: many rows a call, as
embedding models do.
"""
