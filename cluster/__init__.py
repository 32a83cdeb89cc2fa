"""The same work on many machines. See README.md here."""
