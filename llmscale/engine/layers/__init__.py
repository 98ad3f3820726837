"""A file for each layer between the pipeline and the endpoints; two of them make calls of rows."""
