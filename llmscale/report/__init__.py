"""What happened in a run: as `report.json`, on a terminal, as a page, and beside an earlier run.

`building` makes the report of the numbers; all the others read it, and know nothing but its JSON.
"""
