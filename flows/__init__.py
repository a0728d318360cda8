"""Sessions, caching, the Prefect flow and the command line."""
