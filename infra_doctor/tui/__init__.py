"""The dashboard (Textual): one file per screen."""
