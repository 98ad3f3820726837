"""The files of a job, from which it resumes after a kill: lock, manifest, journal, output.

`OUT.lock` keeps a second process out and counts the rows in flight, `OUT.job.json` (manifest) says
what the job is, `OUT.partial` (journal) holds the finished rows, and OUT appears whole at the end.
"""
