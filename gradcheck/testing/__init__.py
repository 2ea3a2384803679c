"""What the pytest plugin is made of: recording checks during a test, telling what was found, tracebacks of users."""
