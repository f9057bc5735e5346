"""Generic compatibility: kinds of version, kinds of rule, the table loader. Knows no vendor."""
