"""A machine that loses its power: what a disk may then hold, and what the tool makes of it.

The file operations of a run are recorded (`trace`). For any moment of it the states that a disk may
be left in are built (`disk`): what was not synced may be there, be lost, be torn, or be there
before what came earlier. The same command is run on each (`cases`). After ALICE: T. S. Pillai et
al., "All File Systems Are Not Created Equal", OSDI 2014.
"""
