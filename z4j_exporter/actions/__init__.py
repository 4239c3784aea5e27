"""The authenticated actions: retry, cancel, terminate, purge, in bulk, by group, from alerts."""
