"""Reuse of features over time: what did not change is not encoded again, and what is reused is bounded."""
