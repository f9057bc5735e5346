"""What a plan may choose: one file per part or family of parts. The facts are those of the tables."""
