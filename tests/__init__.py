"""The tests: unit (no privileges), system (runs containers), acceptance (real packages)."""
