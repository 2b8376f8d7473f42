"""The places where a sweep can run its jobs."""
