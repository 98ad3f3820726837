"""JSON Schemas that answers must fit: read once, checked without ever holding up the event loop."""
