"""The security list of the reliability plan, each point shown with the tool as a process.

Unit tests beside the modules go deeper; here every point can be found by its name, and ends as a
line in the table.
"""
