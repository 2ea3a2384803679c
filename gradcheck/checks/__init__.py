"""The checks: each describes a function and a claimed derivative, asks the protocol, and reports."""
