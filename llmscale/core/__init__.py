"""The words that everybody speaks: values, errors, protocols, the shape of an output line."""
