"""The machine looked at: one object over files, ELF, environment, commands, kernel state, vendor libraries, Python environments."""
