"""What a run keeps on disk, so that it can die at any moment: lock, manifest, journal, output.

`OUT.lock` keeps a second process out and counts the rows in flight, `OUT.job.json` (manifest) says
what the job is, `OUT.partial` (journal) holds the finished rows, and OUT appears whole at the end.
"""
