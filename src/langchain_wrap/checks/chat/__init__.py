"""The conformance kit for chat models: what its clauses are checked with."""
