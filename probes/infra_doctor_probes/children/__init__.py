"""Programs that call a vendor library, each run as a child process that can be ended."""
